"""The data of a report: the numbers of one round, as the demo fills them in.

Shares and AP are fractions 0..1, boxes xyxy half-open pixels of the picture, times seconds. The report computes nothing
except the differences that it prints.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.quality.decoys import DecoyNumbers
from schemas.records import Record

ModelName = Literal["teacher", "control", "student"]
METRICS: dict[str, str] = {
    "AP": "AP",
    "AP50": "AP50",
    "head": "AP head",
    "tail": "AP tail",
    "head50": "AP50 head",
    "tail50": "AP50 tail",
    "recall_at_1": "Recall@1",
}
"""The columns of the table of models, in order: field of `ModelRow.metrics` -> heading."""


class Interval(Record):
    """A number with its interval; None limits where none was computed."""

    value: float | None = Field(description="None where the number does not exist (COCO's -1)")
    low: float | None = None
    high: float | None = None


class LoopNumbers(Record):
    """What passed through each stage of the round, for the picture of the loop."""

    gold_images: int
    gold_boxes: int
    web_samples: int = Field(description="captioned images that were labeled")
    web_shards: int
    labelled: int = Field(description="samples with at least one region")
    empty: int
    rejected: int
    units: int = Field(description="committed units of work")
    phrases: int = Field(description="phrases that were asked for")
    evidence_regions: int
    kept_regions: int = Field(description="kept regions of the view, without those to ignore")
    kept_samples: int = Field(description="samples with at least one kept region")
    train_steps: int = Field(description="steps of the student; the control has the same")
    test_images: int


class ExampleBox(Record):
    """One region on an example image."""

    text: str = Field(description="its phrase")
    box: tuple[float, float, float, float]
    score: float
    kept: bool = Field(description="whether the policy kept it")
    ignored: bool = Field(False, description="not kept and not dropped: in the view, and to be ignored")

    @model_validator(mode="after")
    def _is_one_of_three(self) -> ExampleBox:
        if self.kept and self.ignored:
            raise ValueError(f"box of {self.text!r} is kept and ignored: it can be one of the two")
        return self


class LabeledExample(Record):
    """One labeled image. The picture is embedded unchanged: PNG or JPEG bytes."""

    image: bytes = Field(repr=False)
    media_type: Literal["image/png", "image/jpeg"]
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    caption: str
    boxes: tuple[ExampleBox, ...]


class Histogram(Record):
    """Raw scores of the evidence, in equal bins from `low` to `high`. Kept, ignored and dropped are all regions."""

    low: float = 0.0
    high: float = 1.0
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    ignored: tuple[int, ...] = Field((), description="in the view and to be ignored; empty: none")
    score_kind: str = Field("", description="what the score is, as the teacher documents it")

    @model_validator(mode="after")
    def _has_bins_alike(self) -> Histogram:
        if len(self.kept) != len(self.dropped) or not self.kept:
            raise ValueError(
                f"{len(self.kept)} bins of kept regions, {len(self.dropped)} of dropped: they must match"
            )
        if self.ignored and len(self.ignored) != len(self.kept):
            raise ValueError(
                f"{len(self.kept)} bins of kept regions, {len(self.ignored)} of ignored: they must match"
            )
        return self


class ThresholdPoint(Record):
    """The result of a score threshold, measured against a truth."""

    threshold: float
    precision: Interval
    kept: int = Field(description="regions at or above the threshold")


class ThresholdLine(Record):
    """Precision against threshold for one group of phrases."""

    name: str = Field(description="e.g. head, tail")
    points: tuple[ThresholdPoint, ...]


class TrainingCurve(Record):
    """The training loss of one model."""

    model: ModelName
    steps: tuple[int, ...]
    loss: tuple[float, ...]

    @model_validator(mode="after")
    def _has_a_loss_for_each_step(self) -> TrainingCurve:
        if len(self.steps) != len(self.loss):
            raise ValueError(f"{self.model}: {len(self.steps)} steps, {len(self.loss)} losses")
        return self


class ModelRow(Record):
    """One model's numbers on the held-out scenes."""

    model: ModelName
    note: str = Field("", description="how it was made, in a few words")
    metrics: dict[str, Interval] = Field(description=f"by {', '.join(METRICS)}; missing ones are left blank")


class PolicyStep(Record):
    """One operation of the policy and the regions after it."""

    operation: str
    setting: str = Field(description="its value, e.g. `0.4`")
    regions_after: int


class Timing(Record):
    """The duration of one step."""

    step: str
    seconds: float = Field(ge=0)
    cached: bool = Field(False, description="done by an earlier run; the time is that run's")


class NextCommand(Record):
    """A command that the reader may run next."""

    command: str
    what: str


class ReportData(Record):
    """Everything in `report.html`. Optional parts that are missing are omitted."""

    title: str = Field("Groundswell demo", description="heading of the page")
    seed: int
    loop: LoopNumbers
    models: tuple[ModelRow, ...]
    gains: dict[str, Interval] = Field(
        default_factory=dict,
        description="student minus control by metric, with a paired interval (same images); decides the verdict",
    )
    examples: tuple[LabeledExample, ...] = ()
    scores: Histogram | None = None
    threshold: float | None = Field(None, description="the policy's min_score, marked in the charts")
    thresholds: tuple[ThresholdLine, ...] = ()
    curves: tuple[TrainingCurve, ...] = ()
    audit: dict[str, Any] | None = Field(
        None, description="what `pipelines.audit.report.audit_report` returned"
    )
    decoys: DecoyNumbers | None = Field(None, description="nouns believed absent; none where none were asked")
    policy: tuple[PolicyStep, ...] = ()
    timings: tuple[Timing, ...] = ()
    next_commands: tuple[NextCommand, ...] = ()
    notes: tuple[str, ...] = Field((), description="caveats that the reader must know, one sentence each")
    provenance: dict[str, str] = Field(
        default_factory=dict, description="digests and versions, name -> value"
    )
