"""The index of a view: what training must know of all rows before the first step, at a few bytes per row.

It is built in one pass over the parts, one part in memory at a time. The index of a large view is cached in a folder
under the view's digest, never in the view. The next start, or another worker of this machine, loads it from there.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.storage.local_files import open_replacement
from engine.views import View
from schemas.digests import digest_of, shorten_digest
from student.data.content_blocks import Blocks, block_keys, row_keys, sort_blocks
from student.data.view_counts import ViewCounts, draw_repeats, rarest_noun_counts

_FORMAT = 3  # of the cached file; a file of another format is built anew


@dataclass(frozen=True)
class ViewIndex:
    """Blocks in the order of content, the repeats of each row in that order (0: not used), and the counts."""

    blocks: Blocks
    repeats: NDArray[np.uint8]
    root_counts: Mapping[str, int]
    licenses: Mapping[str, int]
    boxes: int
    ignored_boxes: int
    has_decoys: bool

    @property
    def images(self) -> int:
        """The number of rows that are used."""
        return int(np.count_nonzero(self.repeats))


def build_index(view: View, every_row: bool, repeat_threshold: float, by_row: bool) -> ViewIndex:
    """Build the index of a view.

    every_row: whether rows without a region are used too
    by_row:    whether to order by single rows, as for views that stay in memory
    """
    counts = ViewCounts(every_row)

    def count_tables() -> Iterator[pa.Table]:
        for table in view.tables():
            counts.add(table)
            yield table

    if by_row:
        blocks = sort_blocks(key for table in count_tables() for key in row_keys(table))
    else:
        blocks = sort_blocks(block_keys(count_tables()))
    usable = blocks.reorder(np.concatenate(counts.usable))
    repeats = usable.astype(np.uint8)
    if repeat_threshold:
        images = int(usable.sum())
        rarest = blocks.reorder(rarest_noun_counts(view.tables(), counts.positive, images))
        repeats = repeats * draw_repeats(rarest, images, repeat_threshold, blocks.digest)
    return ViewIndex(
        blocks,
        repeats,
        counts.root_counts(),
        counts.licenses,
        counts.boxes,
        counts.ignored_boxes,
        counts.has_decoys,
    )


def load_or_build_index(view: View, every_row: bool, repeat_threshold: float, folder: Path) -> ViewIndex:
    """Return the block index of a large view from the cache folder. Build it and cache it if it is not there."""
    key = digest_of([_FORMAT, view.manifest.digest, every_row, repeat_threshold])
    path = folder / f"{shorten_digest(key, 32)}.npz"
    if path.exists():
        return _read(path)
    index = build_index(view, every_row, repeat_threshold, by_row=False)
    _write(path, index)
    return index


def cache_folder() -> Path:
    """Return the user's cache folder for indexes."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "groundswell" / "streams"


def _write(path: Path, index: ViewIndex) -> None:
    facts = {
        "digest": index.blocks.digest,
        "root_counts": dict(index.root_counts),
        "licenses": dict(index.licenses),
        "boxes": index.boxes,
        "ignored_boxes": index.ignored_boxes,
        "has_decoys": index.has_decoys,
    }
    with open_replacement(path) as file:
        np.savez(
            file,
            file_row=index.blocks.file_row,
            count=index.blocks.count,
            repeats=index.repeats,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
        )


def _read(path: Path) -> ViewIndex:
    with np.load(path, allow_pickle=False) as arrays:
        facts = json.loads(arrays["facts"].tobytes())
        blocks = Blocks(arrays["file_row"], arrays["count"], facts["digest"])
        return ViewIndex(
            blocks,
            arrays["repeats"],
            Counter(facts["root_counts"]),
            Counter(facts["licenses"]),
            facts["boxes"],
            facts["ignored_boxes"],
            facts["has_decoys"],
        )
