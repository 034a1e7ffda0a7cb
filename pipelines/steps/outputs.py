"""The JSON outputs of verbs, as far as later steps of the demo and of rounds read them.

A step stores the whole output. These types name only the fields that another step or a report reads.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class StreamOutput(TypedDict):
    """One stream of a training."""

    kind: str
    images: int
    boxes: int
    ignored_boxes: int
    view_digest: str


class TrainOutput(TypedDict):
    """The report of `train`."""

    steps: int
    start_sha256: str
    model_sha256: str
    streams: list[StreamOutput]


class TrainedPair(TypedDict):
    """The reports of student and control."""

    student: TrainOutput
    control: TrainOutput


class RegionTotals(TypedDict):
    """Regions of the evidence by what a policy did with them. `dropped` and `ignored` are by rule."""

    regions_in: int
    kept: int
    dropped: dict[str, int]
    ignored: NotRequired[dict[str, int]]


class ScoreCounts(TypedDict):
    """Histograms of raw scores."""

    evidence: list[int]
    view: list[int]
    ignored: list[int]


class CompileOutput(TypedDict):
    """The report of `compile`."""

    digest: str
    snapshot_digest: str
    policy_digest: str
    score_kind: str
    samples: dict[str, int]
    phrases: dict[str, int]
    regions: RegionTotals
    scores: ScoreCounts
    gold: NotRequired[dict[str, str]]
    decoys: NotRequired[dict[str, object] | None]


class IntervalOutput(TypedDict):
    """A number with its confidence interval; null: it has none."""

    value: float | None
    low: float | None
    high: float | None


class AuditOutput(TypedDict):
    """The findings of `audit report`."""

    precision: IntervalOutput
    pending: int
    reviewed: int
    population: int
    reviewer: str
