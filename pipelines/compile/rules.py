"""One row of evidence under a policy: which regions stay, and which rule took each of the others.

Its promise: every region of the evidence is kept, kept as one to ignore, or dropped, and the latter two are counted
under exactly one rule. The rules run in the order in which they are listed; a pure function of row, policy and gold.
"""

# R regions, P phrases
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.compile.assignment import assign_one_to_one
from pipelines.compile.gold_boxes import GoldBox, overlaps_gold
from pipelines.compile.policy import FLOOR, Policy
from pipelines.compile.view_row import view_row
from schemas.boxes import area, as_boxes, iou, nms
from teacher.phrases.judge.number import phrase_number

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
    "gold": "overlaps a gold box of its category (gold.iou)",
}

# After these rules a region is a candidate: it is believed to be of its phrase, or may be.
_BEFORE_CANDIDATES = frozenset({"decoy", "not_groundable", "no_area", "below_candidate_score"})
_BY_SCORE = frozenset(
    {"lost_assignment", "below_score", "over_cap"}
)  # what an ignore_score that is a score covers

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Compiled:
    """A view's row, what became of the regions that it does not teach, and the numbers of the phrases asked."""

    row: dict[str, Any]
    dropped: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    merged: int = 0

    @property
    def teaches(self) -> bool:
        """Whether a region is left that is not to be ignored."""
        return any(region["fate"] != "ignore" for region in self.row["regions"])


def apply_policy(row: dict[str, Any], policy: Policy, gold: Sequence[GoldBox] = ()) -> Compiled:
    """The view row of an evidence row (`schemas.arrow.EVIDENCE` as plain dictionaries); `gold` is of its image."""
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
    numbers: Counter[str] = Counter()
    if policy.one_to_one:
        number_of = numbers_of(phrases, sieve.phrase_R[sieve.left])
        numbers.update(number_of.values())
        sieve.assign("lost_assignment", policy.same_place_iou, number_of)
    sieve.drop_below("below_score", policy.min_score)
    if policy.max_regions_per_phrase is not None:
        sieve.keep_best("over_cap", policy.max_regions_per_phrase)
    if policy.gold is not None and gold:
        sieve.yield_to_gold("gold", phrases, gold, policy.gold.iou)
    boxes_R4, merged = merge_boxes(sieve, policy.merge_iou)
    to_ignore, ignored, dropped = sieve.settle(policy)
    compiled = view_row(row, sieve.left, to_ignore, boxes_R4, sieve.scores_R, policy)
    return Compiled(compiled, dropped, ignored, numbers, merged)


def numbers_of(phrases: Sequence[dict[str, Any]], phrase_R: NDArray[np.int64]) -> dict[int, str]:
    """The grammatical number of each phrase that has a region left, by the phrase's index."""
    return {i: phrase_number(phrases[i]["text"], phrases[i]["root"]) for i in sorted(set(phrase_R.tolist()))}


class _Sieve:
    """The regions of one row: arrays over all of them, the indices still left, and what each rule took away."""

    def __init__(self, row: dict[str, Any]) -> None:
        regions = row["regions"]
        self.phrase_R = np.array([region["phrase"] for region in regions], dtype=np.int64)
        self.boxes_R4 = as_boxes([[region[side] for side in ("x0", "y0", "x1", "y1")] for region in regions])
        self.scores_R = np.array([region["score"] for region in regions], dtype=np.float64)
        self.area_R = area(self.boxes_R4)
        self.left: Indices = np.arange(len(regions))
        self.gone: list[tuple[str, Indices]] = []

    def keep(self, rule: str, kept: Iterable[int]) -> None:
        """Go on with `kept`; the others left are counted under the rule."""
        stay = set(map(int, kept))
        gone = np.array([i for i in self.left.tolist() if i not in stay], dtype=np.int64)
        if len(gone):
            self.gone.append((rule, gone))
            self.left = np.array(sorted(stay), dtype=np.int64)

    def settle(self, policy: Policy) -> tuple[Indices, Counter[str], Counter[str]]:
        """Return the regions to ignore, and how many each rule ignored and dropped.

        Call it after the last rule: whether a phrase keeps a box is known only then.
        """
        positive_P = np.zeros(self.phrase_R.max(initial=-1) + 1, dtype=bool)
        positive_P[self.phrase_R[self.left]] = True
        to_ignore: list[Indices] = [np.arange(0)]
        ignored: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for rule, gone in self.gone:
            stays = self._is_ignored(rule, gone, positive_P, policy)
            to_ignore.append(gone[stays])
            for counter, number in ((ignored, int(stays.sum())), (dropped, int((~stays).sum()))):
                if number:
                    counter[rule] += number
        return np.concatenate(to_ignore), ignored, dropped

    def _is_ignored(
        self, rule: str, gone: Indices, positive_P: NDArray[np.bool_], policy: Policy
    ) -> NDArray[np.bool_]:
        """Return [gone] whether a region that a rule took away stays as one to ignore.

        positive_P: whether a phrase has a kept box
        """
        if rule == "gold":  # a human boxed it: dropping it would make the place a negative
            return np.ones(len(gone), dtype=bool)
        if policy.ignore_score == FLOOR:  # a phrase without a kept box is out of the loss everywhere
            return positive_P[self.phrase_R[gone]] & (rule not in _BEFORE_CANDIDATES)
        if policy.ignore_from is None or rule not in _BY_SCORE:
            return np.zeros(len(gone), dtype=bool)
        return self._reach(gone, policy.ignore_from)

    def _reach(self, indices: Indices, score: float) -> NDArray[np.bool_]:
        # evidence holds float32: a region written with 0.7 is 0.69999999 and is not below a threshold of 0.7
        return self.scores_R[indices] >= float(np.float32(score))

    def drop(self, rule: str, is_dropped: Callable[[int], bool]) -> None:
        self.keep(rule, [i for i in self.left if not is_dropped(i)])

    def drop_below(self, rule: str, score: float) -> None:
        self.keep(rule, self.left[self._reach(self.left, score)])

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

    def assign(self, rule: str, same_place_iou: float, number_of: dict[int, str]) -> None:
        """One box for each phrase that speaks of one thing; the regions of the others stay."""
        is_single = np.array(
            [number_of[i] == "singular" for i in self.phrase_R[self.left].tolist()], dtype=bool
        )
        single, others = self.left[is_single], self.left[~is_single]
        chosen = assign_one_to_one(
            self.phrase_R[single], self.boxes_R4[single], self.scores_R[single], same_place_iou
        )
        self.keep(rule, [*single[chosen], *others])

    def yield_to_gold(
        self, rule: str, phrases: Sequence[dict[str, Any]], gold: Sequence[GoldBox], at_least: float
    ) -> None:
        """Take away what a human boxed already."""
        left = self.left
        known = overlaps_gold(phrases, self.phrase_R[left], self.boxes_R4[left], gold, at_least)
        self.keep(rule, left[~known])


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
