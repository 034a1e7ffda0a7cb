"""Counts from one pass over a view: nouns, licenses, boxes, and how often a row with a rare noun is repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from student.data.order import RowNumbers, random_generator


@dataclass
class ViewCounts:
    """Counts over a view's rows, part by part. Counters count the rows in which a noun occurs."""

    every_row: bool  # whether rows without a box are used too
    usable: list[NDArray[np.bool_]] = field(default_factory=list)
    nouns: Counter[str] = field(default_factory=Counter)
    not_absent: Counter[str] = field(default_factory=Counter)
    positive: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    boxes: int = 0
    ignored_boxes: int = 0
    has_decoys: bool = False

    def add(self, table: pa.Table) -> None:
        """Count a part."""
        regions = table["regions"].combine_chunks()
        usable = _has_box(regions) | self.every_row
        self.usable.append(usable)
        nouns = PhraseNouns(table)
        counted = usable[nouns.row] & ~nouns.decoy
        self.nouns.update(nouns.count_rows(counted))
        self.not_absent.update(nouns.count_rows(counted & ~nouns.absent))
        self.positive.update(nouns.count_rows(counted & nouns.positive))
        licenses = table["license"].fill_null("").combine_chunks().filter(pa.array(usable))
        self.licenses.update({one["values"]: one["counts"] for one in licenses.value_counts().to_pylist()})
        ignored = _equals(pc.list_flatten(regions), "fate", "ignore")
        boxes = _count_distinct_boxes(regions, np.ones(len(ignored), dtype=bool))
        self.boxes += boxes
        self.ignored_boxes += boxes - _count_distinct_boxes(regions, ~ignored)
        self.has_decoys |= bool((nouns.decoy & usable[nouns.row]).any())

    def root_counts(self) -> Counter[str]:
        """Return in how many rows each noun is not said to be absent. A noun that is absent everywhere counts once."""
        return Counter(dict.fromkeys(self.nouns, 1)) | self.not_absent


class PhraseNouns:
    """The head nouns of a part's phrases as arrays, one entry per phrase."""

    def __init__(self, table: pa.Table) -> None:
        phrases = table["phrases"].combine_chunks()
        flat = pc.list_flatten(phrases)
        root = pc.struct_field(flat, "root").dictionary_encode()
        self.row = pc.list_parent_indices(phrases).to_numpy()
        self.code = root.indices.to_numpy()
        self.names = root.dictionary.to_pylist()
        self.decoy = _equals(flat, "kind", "decoy")
        self.absent = _equals(flat, "fate", "absent")
        self.positive = _equals(flat, "fate", "positive")

    def count_rows(self, chosen: NDArray[np.bool_]) -> dict[str, int]:
        """Return in how many rows each noun is among the chosen phrases."""
        pairs = np.unique(self.row[chosen].astype(np.int64) * max(1, len(self.names)) + self.code[chosen])
        counts = np.bincount(pairs % max(1, len(self.names)), minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}


def _equals(flat: pa.StructArray, name: str, value: str) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(pc.struct_field(flat, name), value).to_numpy(zero_copy_only=False))


def _has_box(regions: pa.ListArray) -> NDArray[np.bool_]:
    """Return which rows have a box that is learned. An ignored region only says where not to learn."""
    has_box = np.zeros(len(regions), dtype=bool)
    ignored = _equals(pc.list_flatten(regions), "fate", "ignore")
    has_box[pc.list_parent_indices(regions).to_numpy()[~ignored]] = True
    return has_box


def _count_distinct_boxes(regions: pa.ListArray, chosen: NDArray[np.bool_]) -> int:
    """Count the different boxes of the chosen regions. A box that two phrases share counts once."""
    flat = pc.list_flatten(regions)
    sides = [pc.struct_field(flat, side).to_numpy()[chosen] for side in ("x0", "y0", "x1", "y1")]
    rows = pc.list_parent_indices(regions).to_numpy()[chosen].astype(np.float64)
    return len(np.unique(np.column_stack([rows, *sides]), axis=0)) if len(rows) else 0


def rarest_noun_counts(tables: Iterable[pa.Table], positive: Counter[str], rows: int) -> RowNumbers:
    """Return for each row in how many rows its rarest noun with a box occurs; `rows` for a row without such a noun."""
    parts = []
    for table in tables:
        nouns = PhraseNouns(table)
        chosen = nouns.positive & ~nouns.decoy
        counts = np.array([positive[name] for name in nouns.names] or [0], dtype=np.int64)
        rarest = np.full(len(table), rows, dtype=np.int64)
        np.minimum.at(rarest, nouns.row[chosen], counts[nouns.code[chosen]])
        parts.append(rarest)
    return np.concatenate(parts)


def draw_repeats(rarest: RowNumbers, images: int, threshold: float, digest: str) -> NDArray[np.uint8]:
    """Return how often each row occurs in an epoch: at least once, more often with a rare noun, at most 255 times.

    A row is repeated max(1, sqrt(threshold / f)) times, where f is the share of images with its rarest noun. A
    fraction becomes one more repeat with that probability (repeat-factor sampling, LVIS, arXiv 1908.03195).
    """
    shares = np.maximum(rarest, 1) / max(1, images)
    factor = np.maximum(1.0, np.sqrt(threshold / shares))
    more = random_generator("repeats", digest).random(len(factor)) < factor % 1
    return np.minimum(factor.astype(np.int64) + more, 255).astype(np.uint8)
