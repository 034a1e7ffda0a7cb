"""Apply a policy to rows of evidence: which regions stay, and which rule removed each of the others.

Every region is kept, kept as one to ignore, or dropped. The latter two are counted under exactly one rule. The result
is a pure function of the rows, the policy and the gold, and does not depend on how the rows are batched.
"""

# N rows, R regions of all rows, P phrases of all rows
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipelines.compile.gold_mask import GoldBox
from pipelines.compile.policy import FLOOR, Policy
from pipelines.compile.region_batch import Flags, Indices, RegionBatch
from pipelines.compile.rule import BoxRule, Decision, Decisions_R, RegionRule, SampleRule, SoftenedBy
from pipelines.compile.rules import list_rules
from pipelines.compile.view_row import DROPPED, IGNORED, KEPT, make_view_rows
from schemas.rows import EvidenceRow, ViewRow


@dataclass(frozen=True)
class CompiledRows:
    """View rows, and the counts of what the policy did.

    rows:     one view row for each evidence row
    in_view:  whether the row belongs to the view
    has_box:  whether the row has a kept region that is not to be ignored
    dropped:  regions by the rule that removed them
    ignored:  regions to ignore, by the rule that removed them
    numbers:  phrases with a candidate by grammatical number
    merged:   kept regions whose box was moved
    """

    rows: list[ViewRow]
    in_view: Flags
    has_box: Flags
    dropped: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    merged: int = 0


@dataclass(frozen=True)
class _Removal:
    """The regions that one rule removed, and its decision for each."""

    rule: RegionRule[Any]
    regions: Indices
    decisions: Decisions_R


def apply_policy(
    rows: Sequence[EvidenceRow], policy: Policy, gold: Sequence[Sequence[GoldBox]] | None = None
) -> CompiledRows:
    """Apply the rules of a policy to evidence rows: which regions are kept, ignored or dropped, and by which rule.

    gold: the gold boxes of each row's image
    """
    batch = RegionBatch.from_rows(rows, gold)
    kept: Indices = np.arange(len(batch))
    removals: list[_Removal] = []
    numbers: Counter[str] = Counter()
    merged = 0
    for rule in list_rules():
        left = batch.take(kept)
        if isinstance(rule, RegionRule):
            if rule.count is not None:
                numbers.update(rule.count(left, policy))
            decisions = rule.apply(left, policy)
            gone = decisions != Decision.KEEP
            removals.append(_Removal(rule, kept[gone], decisions[gone]))
            kept = kept[~gone]
        elif isinstance(rule, BoxRule):
            boxes_R4 = batch.boxes_R4.copy()
            boxes_R4[kept] = rule.apply(left, policy)
            merged += int((boxes_R4 != batch.boxes_R4).any(axis=1).sum())
            batch = replace(batch, boxes_R4=boxes_R4)
    decided_R = np.full(len(batch), DROPPED, dtype=np.int8)
    decided_R[kept] = KEPT
    dropped, ignored = _settle(batch, kept, removals, policy, decided_R)
    has_box_N = np.zeros(len(rows), dtype=bool)
    has_box_N[batch.row_R[kept]] = True
    in_view_N = np.ones(len(rows), dtype=bool)
    for rule in list_rules():
        if isinstance(rule, SampleRule):
            in_view_N &= rule.apply(has_box_N, policy)
    view_rows = make_view_rows(rows, batch, decided_R, policy)
    return CompiledRows(view_rows, in_view_N, has_box_N, dropped, ignored, numbers, merged)


def _settle(
    batch: RegionBatch, kept: Indices, removals: Sequence[_Removal], policy: Policy, decided_R: Decisions_R
) -> tuple[Counter[str], Counter[str]]:
    """Mark the regions to ignore in `decided_R`; return how many regions each rule dropped and ignored.

    It runs after the last rule, because only then it is known whether a phrase keeps a box.
    """
    positive_P = np.zeros(len(batch.phrases_P), dtype=bool)
    positive_P[batch.phrase_R[kept]] = True
    dropped: Counter[str] = Counter()
    ignored: Counter[str] = Counter()
    for removal in removals:
        stays = (removal.decisions == Decision.IGNORE) | _is_softened(batch, removal, positive_P, policy)
        decided_R[removal.regions[stays]] = IGNORED
        for counter, number in ((ignored, int(stays.sum())), (dropped, int((~stays).sum()))):
            if number:
                counter[removal.rule.name] += number
    return dropped, ignored


def _is_softened(batch: RegionBatch, removal: _Removal, positive_P: Flags, policy: Policy) -> Flags:
    """Return, for each removed region, whether the policy's ignore_score keeps it as one to ignore.

    positive_P: whether a phrase has a kept box
    """
    softened_by, gone = removal.rule.softened_by, batch.take(removal.regions)
    if policy.ignore_score == FLOOR and softened_by is not SoftenedBy.NOTHING:
        return positive_P[gone.phrase_R]  # a phrase without a kept box is not part of the loss
    if policy.ignore_from is not None and softened_by is SoftenedBy.FLOOR_AND_SCORE:
        return gone.reach(policy.ignore_from)
    return np.zeros(len(gone), dtype=bool)
