"""The summary that `label`, `retry`, `status` and `verify` print with `--json`; docs/interfaces.md describes it."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class UnitTotals(TypedDict):
    """Units of a job. planned = committed + failed + pending; quarantined ones are committed."""

    planned: int
    committed: int
    failed: int
    pending: int
    quarantined: int


SampleTotals = TypedDict(
    "SampleTotals", {"in": int, "labelled": int, "empty": int, "rejected": dict[str, int]}
)
"""Samples of the committed units; `rejected` is by reason code."""


class FailureEntry(TypedDict):
    """A failed unit, as `schemas.ledger.FailedUnit` dumps it."""

    unit: str
    shard: str
    code: str
    detail: str


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


class TrainOverlap(TypedDict):
    """Labeled images that the teacher was trained on, and how many images were compared."""

    images: int
    of: int


class Summary(TypedDict):
    """The totals of an output's newest snapshot. `digest` is over the content of the rows."""

    units: UnitTotals
    samples: SampleTotals
    regions: int
    digest: str
    snapshot: int
    job: str
    failures: list[FailureEntry]
    failures_not_listed: int
    output: NotRequired[str | None]
    judged: NotRequired[JudgedTotals]
    selection: NotRequired[SelectionTotals]
    seen_in_training: NotRequired[TrainOverlap]
    redone: NotRequired[int]
