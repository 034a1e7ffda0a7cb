"""What one pass over a view counts: nouns, licences, boxes, and how often a row with a rare noun is repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from student.data.order import generator

Rows = NDArray[np.int64]


@dataclass
class Tally:
    """Counts over a view's rows, part by part."""

    every_row: bool  # rows in which nothing is boxed are used, too
    usable: list[NDArray[np.bool_]] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    not_absent: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    boxes: int = 0
    ignored_boxes: int = 0
    has_decoys: bool = False

    def add(self, table: pa.Table) -> None:
        """Count a part."""
        regions = table["regions"].combine_chunks()
        usable = _with_a_box(regions) | self.every_row
        self.usable.append(usable)
        nouns = Nouns(table)
        kept = usable[nouns.row] & ~nouns.decoy
        self.said.update(nouns.rows_with(kept))
        self.not_absent.update(nouns.rows_with(kept & ~nouns.absent))
        self.shown.update(nouns.rows_with(kept & nouns.shown))
        licenses = table["license"].fill_null("").combine_chunks().filter(pa.array(usable))
        self.licenses.update({one["values"]: one["counts"] for one in licenses.value_counts().to_pylist()})
        ignored = _is(pc.list_flatten(regions), "fate", "ignore")
        boxes = _distinct_boxes(regions, np.ones(len(ignored), dtype=bool))
        self.boxes += boxes
        self.ignored_boxes += boxes - _distinct_boxes(regions, ~ignored)
        self.has_decoys |= bool((nouns.decoy & usable[nouns.row]).any())

    def root_counts(self) -> Counter[str]:
        """In how many rows each noun is not said to be absent; one that is nowhere else still counts once."""
        return Counter(dict.fromkeys(self.said, 1)) | self.not_absent


class Nouns:
    """The head nouns of a part's phrases, one entry a phrase."""

    def __init__(self, table: pa.Table) -> None:
        phrases = table["phrases"].combine_chunks()
        flat = pc.list_flatten(phrases)
        root = pc.struct_field(flat, "root").dictionary_encode()
        self.row = pc.list_parent_indices(phrases).to_numpy()
        self.code = root.indices.to_numpy()
        self.names = root.dictionary.to_pylist()
        self.decoy = _is(flat, "kind", "decoy")
        self.absent = _is(flat, "fate", "absent")
        self.shown = _is(flat, "fate", "positive")

    def rows_with(self, chosen: NDArray[np.bool_]) -> dict[str, int]:
        """In how many rows each noun is among the chosen phrases."""
        pairs = np.unique(self.row[chosen].astype(np.int64) * max(1, len(self.names)) + self.code[chosen])
        counts = np.bincount(pairs % max(1, len(self.names)), minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}


def _is(flat: pa.StructArray, name: str, value: str) -> NDArray[np.bool_]:
    return pc.equal(pc.struct_field(flat, name), value).to_numpy(zero_copy_only=False)


def _with_a_box(regions: pa.ListArray) -> NDArray[np.bool_]:
    """Rows that box something: regions to ignore say only where not to learn."""
    boxed = np.zeros(len(regions), dtype=bool)
    ignored = _is(pc.list_flatten(regions), "fate", "ignore")
    boxed[pc.list_parent_indices(regions).to_numpy()[~ignored]] = True
    return boxed


def _distinct_boxes(regions: pa.ListArray, chosen: NDArray[np.bool_]) -> int:
    """Different boxes of the chosen regions: one that two phrases share counts once."""
    flat = pc.list_flatten(regions)
    sides = [pc.struct_field(flat, side).to_numpy()[chosen] for side in ("x0", "y0", "x1", "y1")]
    rows = pc.list_parent_indices(regions).to_numpy()[chosen].astype(np.float64)
    return len(np.unique(np.column_stack([rows, *sides]), axis=0)) if len(rows) else 0


def rarest_shown(tables: Iterable[pa.Table], shown: Counter[str], rows: int) -> Rows:
    """Of each row, in how many rows its rarest shown noun stands; `rows` for one that shows none."""
    parts = []
    for table in tables:
        nouns = Nouns(table)
        chosen = nouns.shown & ~nouns.decoy
        counts = np.array([shown[name] for name in nouns.names] or [0], dtype=np.int64)
        rarest = np.full(len(table), rows, dtype=np.int64)
        np.minimum.at(rarest, nouns.row[chosen], counts[nouns.code[chosen]])
        parts.append(rarest)
    return np.concatenate(parts)


def repeat_numbers(rarest: Rows, images: int, threshold: float, digest: str) -> NDArray[np.uint8]:
    """How often each row stands in an epoch, at least once and rows with a rare noun more often (at most 255 times).

    A row is repeated max(1, sqrt(threshold / f)) times, f being the share of images that hold its rarest noun; a
    fraction becomes one more repeat with that probability (repeat-factor sampling, LVIS, arXiv 1908.03195).
    """
    shares = np.maximum(rarest, 1) / max(1, images)
    factor = np.maximum(1.0, np.sqrt(threshold / shares))
    more = generator("repeats", digest).random(len(factor)) < factor % 1
    return np.minimum(factor.astype(np.int64) + more, 255).astype(np.uint8)
