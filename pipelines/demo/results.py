"""The results of the demo's steps, as the report reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from pipelines.label.summary import LabelSummary
from pipelines.steps.outputs import AuditOutput, CompileOutput, IntervalOutput, TrainedPair, TrainOutput


class WorldResult(TypedDict):
    """The facts of `world.json`, and the number of web shards."""

    settings_digest: str
    settings: dict[str, object]
    gold_digest: str
    test_digest: str
    web_shards: int


class Comparison(TypedDict):
    """Evaluations by model, and the gain of the student over the control by group and number."""

    models: dict[str, Mapping[str, Any]]
    gains: dict[str, dict[str, IntervalOutput]]


class ReportPath(TypedDict):
    """Where the report is."""

    path: str


class DemoResults(TypedDict, total=False):
    """The results of the steps that are done."""

    world: WorldResult
    teacher: TrainOutput
    label: LabelSummary
    compile: CompileOutput
    train: TrainedPair
    evaluate: Comparison
    audit: AuditOutput
    report: ReportPath
