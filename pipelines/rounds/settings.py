"""What `rounds` runs: the parts of a round as they stand in a job, a policy and a training, and when to stop.

Its promise: student and control are compared at equal compute. A configuration in which they differ in steps, batch,
augmentation or learning rate is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from engine.settings import InputSettings, RunSettings
from pipelines.compile.policy import Policy
from schemas.settings import EvidenceSettings, Settings
from student.settings.learning import LearningSettings
from student.settings.train import TrainSettings
from teacher.settings import DecoySettings, PhraseSettings

VIEW = "VIEW"
# Whatever makes a step what it is; the name of the recipe aside, which only says where the values come from.
_EQUAL = (
    *(name for name in LearningSettings.model_fields if name != "recipe"),
    *("augment", "probe_nouns", "tuning", "tuning_prompt"),
)
_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_RECALL = ("R@1", "R@5", "R@10")
_GIVEN = {"start": "given by rounds", "out": "given by rounds"}


class LabelSettings(Settings):
    """A labelling job without its teacher and output, which a round gives."""

    input: InputSettings
    phrases: PhraseSettings = Field(default_factory=PhraseSettings)
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    decoys: DecoySettings = Field(DecoySettings(), description="nouns believed absent that are asked, too")
    run: RunSettings = Field(default_factory=RunSettings)


class FirstTeacher(Settings):
    """The teacher of round 1."""

    model: str = Field(description="model directory (GLIP)")
    start: str | None = Field(None, description="what it was trained from; needed by `begin: teacher_start`")


class Suite(Settings):
    """Human gold that every model of a round is evaluated on."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    gold: str = Field(description="COCO JSON or a folder of imported gold")
    images: str | None = Field(None, description="folder or shards of its images, where the gold holds none")
    group_by: str = Field("frequency", description="category field that names the group")
    protocol: Literal["coco", "lvis", "fixed_ap"] = Field(
        "coco", description="whose rules: coco, lvis (federated) or fixed_ap (LVIS without a limit an image)"
    )


class Measure(Settings):
    """One number of one suite."""

    suite: str
    name: str = Field("AP", description="of the twelve COCO numbers, or R@1, R@5, R@10 for phrases")
    group: str = Field("", description="group of categories; empty: all")

    def label(self) -> str:
        """`suite/group/name`."""
        return "/".join(part for part in (self.suite, self.group, self.name) if part)


class Guard(Measure):
    """A number that the student may lose no more than a budget of, against its teacher."""

    budget: float = Field(0.01, ge=0, le=1, description="as a fraction: 0.01 is one point")


class Brakes(Settings):
    """When a round stops instead of promoting its student."""

    min_gain: float = Field(
        0.0, description="the target's gain over the control must be above it, as a fraction"
    )
    gain_interval: bool = Field(
        True, description="the gain's 95 % interval over images must lie above min_gain, not just its value"
    )
    boxes_per_image: float = Field(
        3.0, gt=0, description="most boxes per image with a box, as a multiple of the gold's"
    )
    decoy_rise: float = Field(
        0.02, ge=0, description="most rise of the decoys' share of false discoveries since round 1"
    )


class AuditGate(Settings):
    """A sample of every round's view that somebody reviews before anything is trained on it."""

    n: int = Field(200, ge=1, description="regions in the sample")
    seed: int = 0
    min_precision: float = Field(
        0.8, ge=0, le=1, description="the low end of the precision's interval must reach it"
    )


class RoundsConfig(Settings):
    """Several rounds, each with the student of the one before as its teacher."""

    out: str = Field(description="folder for everything that the rounds make")
    rounds: int = Field(1, ge=1, le=99)
    teacher: FirstTeacher
    label: LabelSettings
    policy: Policy = Field(default_factory=Policy)
    gold: str = Field(description="the gold that pseudo boxes per image are compared with: a gold folder")
    audit: AuditGate | None = Field(None, description="null: no gate, and the report says so")
    student: dict[str, Any] = Field(
        description=f"a training without start and out; the stream with url {VIEW} is the round's view"
    )
    control: dict[str, Any] = Field(description="the same compute on gold alone")
    begin: Literal["teacher", "teacher_start"] = Field(
        "teacher", description="what student and control start from"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="share of the teacher's weights in the promoted student"
    )
    evaluate: tuple[Suite, ...] = Field(min_length=1)
    target: Measure
    guards: tuple[Guard, ...] = Field(
        (), description="what the student may not forget; left out: AP of every suite, by its default budget"
    )
    brakes: Brakes = Field(default_factory=Brakes)
    draws: int = Field(200, ge=20, description="draws of the bootstrap over images")

    @model_validator(mode="before")
    @classmethod
    def _guards_every_suite(cls, values: Any) -> Any:
        if (
            not isinstance(values, dict)
            or "guards" in values
            or not isinstance(values.get("evaluate"), list | tuple)
        ):
            return values
        suites = [suite for suite in values["evaluate"] if isinstance(suite, dict) and "name" in suite]
        return {**values, "guards": [{"suite": suite["name"]} for suite in suites]}

    @model_validator(mode="after")
    def _makes_a_fair_comparison(self) -> RoundsConfig:
        student = self.training("student", VIEW, _GIVEN)
        control = self.training("control", VIEW, _GIVEN)
        urls = [stream.url for stream in student.streams]
        if any(stream.prompts.phrase_list for stream in student.streams if stream.url == VIEW):
            raise ValueError(f"the stream {VIEW} is no gold: set its prompts phrase_list: 0")
        if urls.count(VIEW) != 1 or any(stream.url == VIEW for stream in control.streams):
            raise ValueError(f"the student has exactly one stream with url {VIEW}, the control has none")
        for name in _EQUAL:
            ours, theirs = getattr(student, name), getattr(control, name)
            if ours != theirs:
                raise ValueError(
                    f"student and control differ in {name} ({ours!r}, {theirs!r}): a gain would then say nothing "
                    "of the labels; make them equal"
                )
        return self

    @model_validator(mode="after")
    def _names_what_it_uses(self) -> RoundsConfig:
        suites = [suite.name for suite in self.evaluate]
        if len(set(suites)) != len(suites):
            raise ValueError(f"two suites of one name among {suites}")
        for measure in (self.target, *self.guards):
            if measure.suite not in suites:
                raise ValueError(f"{measure.label()} is of no suite: they are {', '.join(suites)}")
            if measure.name not in (*_NUMBERS, *_RECALL):
                raise ValueError(f"{measure.label()} is no number: {', '.join((*_NUMBERS, *_RECALL))}")
        if self.target.name.startswith("R@") and self.brakes.gain_interval:
            raise ValueError(
                f"{self.target.label()} has no paired interval: set brakes.gain_interval: false, or target an AP"
            )
        if self.begin == "teacher_start" and self.teacher.start is None:
            raise ValueError("begin teacher_start needs teacher.start: the directory it was trained from")
        if "://" in self.out:
            raise ValueError(f"out {self.out!r} is a URL: trained models are written to a local folder")
        return self

    def training(
        self, name: Literal["student", "control"], view: str, places: dict[str, str]
    ) -> TrainSettings:
        """The training of a round's student or control; `view` stands in for VIEW, places are start and out."""
        values = self.student if name == "student" else self.control
        if given := sorted(values.keys() & places.keys()):
            raise ValueError(f"{name} gives {', '.join(given)}: rounds does")
        folders = [suite.gold for suite in self.evaluate if not suite.gold.endswith(".json")]
        values = {"evaluation": folders, **values}  # their images are refused in the data
        if self.label.decoys.share:  # the control's streams do not tell it that there are decoys
            values = {"probe_nouns": "excluded", **values}
        given_streams = values.get("streams")
        if not isinstance(given_streams, list) or not all(isinstance(one, dict) for one in given_streams):
            raise ValueError(f"{name}.streams is {str(given_streams)[:80]!r}: expected a list of streams")
        streams = [
            {**stream, "url": view} if stream.get("url") == VIEW else stream for stream in given_streams
        ]
        return TrainSettings.model_validate({**values, **places, "streams": streams})

    def home(self) -> Path:
        """`out` as a path."""
        return Path(self.out)
