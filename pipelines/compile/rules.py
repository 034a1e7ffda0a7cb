"""One row of evidence under a policy: which regions stay, and which rule dropped each of the others.

Its promise: every region of the evidence is either kept or counted under exactly one rule. The rules run in the
order in which they are listed; a pure function of the row and the policy.
"""

# R regions
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.compile.assignment import assign_one_to_one
from pipelines.compile.policy import Policy
from schemas.boxes import area, as_boxes, iou, nms

RULES: dict[str, str] = {
    "decoy": "the phrase is a decoy, believed absent",
    "not_groundable": "the phrase names nothing that can be boxed (groundable_only)",
    "no_area": "the box has no area in float32",
    "below_candidate_score": "raw score below candidate_score",
    "overlap": "overlaps a better box of its phrase above nms_iou",
    "over_candidates": "beyond max_candidates_per_phrase",
    "lost_assignment": "not in the one-to-one choice of greatest total score",
    "below_score": "raw score below min_score",
    "over_cap": "beyond max_regions_per_phrase",
}

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Compiled:
    """A view's row, and what became of the regions that are not in it."""

    row: dict[str, Any]
    dropped: Counter[str] = field(default_factory=Counter)
    merged: int = 0


def apply_policy(row: dict[str, Any], policy: Policy) -> Compiled:
    """The view row of an evidence row (`schemas.arrow.EVIDENCE` as plain dictionaries)."""
    sieve = _Sieve(row)
    phrases = row["phrases"]
    sieve.drop("decoy", lambda i: phrases[sieve.phrase_R[i]]["kind"] == "decoy")
    if policy.groundable_only:
        sieve.drop("not_groundable", lambda i: not phrases[sieve.phrase_R[i]]["groundable"])
    sieve.drop("no_area", lambda i: sieve.area_R[i] <= 0)
    if policy.candidate_score is not None:
        sieve.drop_below("below_candidate_score", policy.candidate_score)
    sieve.keep_per_phrase("overlap", lambda boxes, scores: nms(boxes, scores, policy.nms_iou))
    if policy.max_candidates_per_phrase is not None:
        sieve.keep_best("over_candidates", policy.max_candidates_per_phrase)
    if policy.one_to_one:
        sieve.assign("lost_assignment", policy.same_place_iou)
    sieve.drop_below("below_score", policy.min_score)
    if policy.max_regions_per_phrase is not None:
        sieve.keep_best("over_cap", policy.max_regions_per_phrase)
    boxes_R4, merged = merge_boxes(sieve, policy.merge_iou)
    return Compiled(_view_row(row, sieve.left, boxes_R4), sieve.dropped, merged)


class _Sieve:
    """The regions of one row: arrays over all of them, the indices still left, and a count per rule."""

    def __init__(self, row: dict[str, Any]) -> None:
        regions = row["regions"]
        self.phrase_R = np.array([region["phrase"] for region in regions], dtype=np.int64)
        self.boxes_R4 = as_boxes([[region[side] for side in ("x0", "y0", "x1", "y1")] for region in regions])
        self.scores_R = np.array([region["score"] for region in regions], dtype=np.float64)
        self.area_R = area(self.boxes_R4)
        self.left: Indices = np.arange(len(regions))
        self.dropped: Counter[str] = Counter()

    def keep(self, rule: str, kept: Iterable[int]) -> None:
        """Go on with `kept`; the others left are counted under the rule."""
        indices = np.array(sorted(kept), dtype=np.int64)
        if len(indices) < len(self.left):
            self.dropped[rule] += len(self.left) - len(indices)
        self.left = indices

    def drop(self, rule: str, is_dropped: Callable[[int], bool]) -> None:
        self.keep(rule, [i for i in self.left if not is_dropped(i)])

    def drop_below(self, rule: str, score: float) -> None:
        # evidence holds float32: a region written with 0.7 is 0.69999999 and is not below a threshold of 0.7
        self.keep(rule, self.left[self.scores_R[self.left] >= float(np.float32(score))])

    def keep_per_phrase(self, rule: str, choose: Callable[[Any, Any], list[int]]) -> None:
        """Go on with what `choose(boxes, scores)` keeps of each phrase's regions."""
        kept: list[int] = []
        for phrase in np.unique(self.phrase_R[self.left]):
            own = self.left[self.phrase_R[self.left] == phrase]
            kept.extend(own[choose(self.boxes_R4[own], self.scores_R[own])])
        self.keep(rule, kept)

    def keep_best(self, rule: str, most: int) -> None:
        self.keep_per_phrase(
            rule, lambda _, scores: [int(i) for i in np.argsort(-scores, kind="stable")[:most]]
        )

    def assign(self, rule: str, same_place_iou: float) -> None:
        left = self.left
        chosen = assign_one_to_one(
            self.phrase_R[left], self.boxes_R4[left], self.scores_R[left], same_place_iou
        )
        self.keep(rule, left[chosen])


def merge_boxes(sieve: _Sieve, merge_iou: float | None) -> tuple[NDArray[np.float64], int]:
    """Boxes with those of different phrases that are one object made equal, and how many were moved.

    Best score first: a region takes the box of the first better region of another phrase it overlaps above
    `merge_iou`. Two regions of one phrase stay two boxes.
    """
    boxes_R4 = sieve.boxes_R4.copy()
    if merge_iou is None:
        return boxes_R4, 0
    overlap_RR = iou(sieve.boxes_R4, sieve.boxes_R4)
    heads: list[int] = []
    held: set[tuple[int, int]] = set()  # (head, phrase)
    merged = 0
    for i in sorted(sieve.left, key=lambda i: (-sieve.scores_R[i], i)):
        phrase = int(sieve.phrase_R[i])
        head = next((h for h in heads if overlap_RR[h, i] > merge_iou and (h, phrase) not in held), None)
        if head is None:
            heads.append(head := i)
        else:
            merged += int((boxes_R4[i] != boxes_R4[head]).any())
            boxes_R4[i] = boxes_R4[head]
        held.add((head, phrase))
    return boxes_R4, merged


def _view_row(row: dict[str, Any], left: Indices, boxes_R4: NDArray[np.float64]) -> dict[str, Any]:
    regions = []
    for i in left:
        x0, y0, x1, y1 = boxes_R4[i].tolist()
        box = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
        belief = {"p_correct": None, "q_value": None, "weight": 1.0, "fate": "positive", "origin": "teacher"}
        regions.append({**row["regions"][i], **box, **belief})
    positive = {region["phrase"] for region in regions}
    phrases = [
        {**phrase, "fate": _fate(phrase, number in positive)} for number, phrase in enumerate(row["phrases"])
    ]
    return {**row, "phrases": phrases, "regions": regions}


def _fate(phrase: dict[str, Any], has_box: bool) -> str:
    """A phrase without a kept box is unresolved, out of the loss: only a decoy counts as absent."""
    if has_box:
        return "positive"
    return "absent" if phrase["kind"] == "decoy" else "unresolved"
