"""The regions of many evidence rows as arrays: what the rules of a policy read."""

# N rows, P phrases of all rows, R regions of all rows
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipelines.compile.gold_mask import GoldBox
from schemas.boxes import Boxes, area, as_boxes
from schemas.rows import EvidenceRow, PhraseRow

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class RegionBatch:
    """Regions of evidence rows, in the order of the rows and, within a row, of the evidence.

    row_R:     index of a region's row, ascending
    phrase_R:  index of its phrase among the phrases of all rows
    phrases_P: the phrases of all rows
    gold_N:    gold boxes of each row's image
    """

    row_R: Indices
    phrase_R: Indices
    boxes_R4: Boxes
    scores_R: Floats
    phrases_P: Sequence[PhraseRow]
    gold_N: Sequence[Sequence[GoldBox]]

    @classmethod
    def from_rows(
        cls, rows: Sequence[EvidenceRow], gold_N: Sequence[Sequence[GoldBox]] | None = None
    ) -> RegionBatch:
        """Collect the regions of evidence rows (`schemas.arrow.EVIDENCE`). Without `gold_N` no image has gold."""
        phrases_P = [phrase for row in rows for phrase in row["phrases"]]
        first_phrase_N = np.cumsum([0, *(len(row["phrases"]) for row in rows)])
        regions = [region for row in rows for region in row["regions"]]
        row_R = np.repeat(np.arange(len(rows)), [len(row["regions"]) for row in rows])
        phrase_R = np.array([region["phrase"] for region in regions], dtype=np.int64)
        return cls(
            row_R=row_R,
            phrase_R=phrase_R + first_phrase_N[row_R],
            boxes_R4=as_boxes([(r["x0"], r["y0"], r["x1"], r["y1"]) for r in regions]),
            scores_R=np.array([region["score"] for region in regions], dtype=np.float64),
            phrases_P=phrases_P,
            gold_N=[()] * len(rows) if gold_N is None else gold_N,
        )

    def __len__(self) -> int:
        return len(self.row_R)

    def take(self, indices: Indices) -> RegionBatch:
        """Return the batch with only these regions. `indices` must ascend."""
        return replace(
            self,
            row_R=self.row_R[indices],
            phrase_R=self.phrase_R[indices],
            boxes_R4=self.boxes_R4[indices],
            scores_R=self.scores_R[indices],
        )

    @cached_property
    def offsets_N1(self) -> Indices:
        """Index of the first region of each row, and the number of regions at the end."""
        return np.searchsorted(self.row_R, np.arange(len(self.gold_N) + 1))

    @cached_property
    def area_R(self) -> Floats:
        """Areas of the boxes in square pixels."""
        return area(self.boxes_R4)

    def flag_phrases(self, is_flagged: Callable[[PhraseRow], bool]) -> Flags:
        """Return [R] whether `is_flagged` holds for the phrase of a region."""
        flags_P = np.array([is_flagged(phrase) for phrase in self.phrases_P], dtype=bool)
        return flags_P[self.phrase_R]

    def reach(self, score: float) -> Flags:
        """Return [R] whether the raw score is `score` or more.

        Evidence stores float32: a region written with 0.7 is 0.69999999 and reaches a threshold of 0.7.
        """
        return self.scores_R >= float(np.float32(score))

    def iter_rows(self) -> Iterator[tuple[int, slice]]:
        """Yield the index of each row that has a region here, and the slice of its regions."""
        for row in np.unique(self.row_R).tolist():
            yield row, slice(int(self.offsets_N1[row]), int(self.offsets_N1[row + 1]))

    def iter_phrases(self) -> Iterator[Indices]:
        """Yield the ascending indices of the regions of each phrase that has one."""
        order = np.argsort(self.phrase_R, kind="stable")
        begins = np.flatnonzero(np.diff(self.phrase_R[order])) + 1
        if len(order):
            yield from np.split(order, begins)
