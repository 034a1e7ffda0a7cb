"""The summary that `label`, `retry`, `status` and `verify` print with `--json`; docs/interfaces.md describes it."""

from __future__ import annotations

from typing import TypedDict, cast

from engine.ledger.snapshots.summary import Summary

TrainOverlap = TypedDict("TrainOverlap", {"images": int, "of": int})  # noqa: UP013
"""Labeled images that the teacher was trained on, and how many images were compared."""


class JudgedTotals(TypedDict):
    """The rejected samples compared with `run.max_rejected`."""

    counted: int
    rejected: int
    max_rejected: float
    passed: bool


class SelectionTotals(TypedDict):
    """The keys that `input.only` names."""

    digest: str | None
    keys: int
    shards_left_out: int


class LabelSummary(Summary, total=False):
    """The totals of an output's newest snapshot, with what a call of a verb adds."""

    output: str | None
    judged: JudgedTotals
    selection: SelectionTotals
    seen_in_training: TrainOverlap
    redone: int


def extend_summary(summary: Summary) -> LabelSummary:
    """Return a copy of a summary to which a verb adds its keys."""
    return cast(LabelSummary, dict(summary))
