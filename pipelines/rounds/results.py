"""The results of a round's steps, as its stop rules, its lineage and its page read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from pipelines.label.summary import LabelSummary
from pipelines.steps.outputs import AuditOutput, CompileOutput, TrainedPair


class LabelResult(LabelSummary):
    """The summary of `label`, with the digest of the shards read."""

    input_digest: str


class BoxesPerImage(TypedDict):
    """Mean boxes per image with a box."""

    gold: float
    pseudo: float


class ViewResult(CompileOutput):
    """The report of `compile`, with the numbers of the stop rules."""

    boxes_per_image: BoxesPerImage
    decoy_false_share: float | None


class Gain(TypedDict):
    """Student minus control, as a fraction. An interval may be missing."""

    value: float | None
    low: float | None
    high: float | None


class EvaluationResult(TypedDict):
    """Evaluations by suite and model, and the gain in the target; None: it cannot be computed."""

    suites: dict[str, dict[str, Mapping[str, Any]]]
    gain: Gain | None


class Promotion(TypedDict):
    """The promoted student: sha256 of its files, and the share of the teacher's weights."""

    files: dict[str, str]
    averaged: float


class RoundResults(TypedDict, total=False):
    """The results of the steps that are done. `audit` is None until somebody has reviewed the sample."""

    label: LabelResult
    compile: ViewResult
    audit: AuditOutput | None
    train: TrainedPair
    evaluate: EvaluationResult
    promote: Promotion
    target: dict[str, float | None]
