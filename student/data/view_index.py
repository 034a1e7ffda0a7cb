"""The index of a view: what training must know of all rows before the first step, at some bytes a row.

One pass over the parts, one part in memory at a time. For a large view the result is kept in a cache folder under the
view's digest (never in the view): the next start, or another worker of this machine, reads that.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.views import View
from schemas.digests import digest_of, short
from student.data.content_blocks import Blocks, block_keys, ordered_blocks, row_keys
from student.data.view_counts import Tally, rarest_shown, repeat_numbers

_FORMAT = 3  # of the cached file; another one is made anew


@dataclass(frozen=True)
class Index:
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
        """Rows that are used."""
        return int(np.count_nonzero(self.repeats))


def make_index(view: View, every_row: bool, repeat_threshold: float, by_row: bool) -> Index:
    """The index of a view.

    every_row: rows without a region are used, too
    by_row:    order by single rows, as views that stay in memory are
    """
    tally = Tally(every_row)

    def counted() -> Iterator[pa.Table]:
        for table in view.tables():
            tally.add(table)
            yield table

    keys = (key for table in counted() for key in row_keys(table)) if by_row else block_keys(counted())
    blocks = ordered_blocks(keys)
    usable = blocks.ordered(np.concatenate(tally.usable))
    repeats = usable.astype(np.uint8)
    if repeat_threshold:
        images = int(usable.sum())
        rarest = blocks.ordered(rarest_shown(view.tables(), tally.shown, images))
        repeats = repeats * repeat_numbers(rarest, images, repeat_threshold, blocks.digest)
    counts = (tally.root_counts(), tally.licenses, tally.boxes, tally.ignored_boxes, tally.has_decoys)
    return Index(blocks, repeats, *counts)


def kept_index(view: View, every_row: bool, repeat_threshold: float, folder: Path) -> Index:
    """The block index of a large view, from the cache folder or made and put there."""
    key = digest_of([_FORMAT, view.manifest.digest, every_row, repeat_threshold])
    path = folder / f"{short(key, 32)}.npz"
    if path.exists():
        return _read(path)
    index = make_index(view, every_row, repeat_threshold, by_row=False)
    _write(path, index)
    return index


def cache_folder() -> Path:
    """Where the user's caches lie."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "groundswell" / "streams"


def _write(path: Path, index: Index) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "digest": index.blocks.digest,
        "root_counts": dict(index.root_counts),
        "licenses": dict(index.licenses),
        "boxes": index.boxes,
        "ignored_boxes": index.ignored_boxes,
        "has_decoys": index.has_decoys,
    }
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
        np.savez(
            file,
            file_row=index.blocks.file_row,
            count=index.blocks.count,
            repeats=index.repeats,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
        )
    os.replace(file.name, path)


def _read(path: Path) -> Index:
    with np.load(path, allow_pickle=False) as held:
        facts = json.loads(held["facts"].tobytes())
        blocks = Blocks(held["file_row"], held["count"], facts["digest"])
        return Index(
            blocks,
            held["repeats"],
            Counter(facts["root_counts"]),
            Counter(facts["licenses"]),
            facts["boxes"],
            facts["ignored_boxes"],
            facts["has_decoys"],
        )
