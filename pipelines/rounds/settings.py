"""The settings of `rounds`: the parts of a round as in a job, a policy and a training, and when to stop.

Student and control are compared at equal compute. A configuration in which they differ in steps, batch, augmentation or
learning rate is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.settings import InputSettings, RunSettings
from pipelines.compile.policy import Policy
from pipelines.label.job import JobConfig
from schemas.errors import ConfigError
from schemas.settings import EvidenceSettings, Settings
from student.settings.learning import LearningSettings
from student.settings.train import TrainSettings
from teacher.registry import TeacherSettings, parse_teacher
from teacher.settings import DecoySettings, PhraseSettings

VIEW = "VIEW"
Arm = Literal["student", "control"]
ARMS: tuple[Arm, Arm] = ("student", "control")
# Fields that must be equal: everything that defines a training step, except the name of the recipe.
_EQUAL = (
    *(name for name in LearningSettings.model_fields if name != "recipe"),
    *("augment", "probe_nouns", "tuning", "tuning_prompt"),
)
_COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_RECALL = ("R@1", "R@5", "R@10")
_SET_BY_ROUNDS = {"start": "set by rounds", "out": "set by rounds"}


class LabelSettings(Settings):
    """A labeling job without its teacher and output, which the round sets."""

    input: InputSettings
    phrases: PhraseSettings = Field(default_factory=PhraseSettings)
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    decoys: DecoySettings = Field(
        DecoySettings(), description="absent nouns for which the teacher is also queried"
    )
    run: RunSettings = Field(default_factory=RunSettings)

    def job(self, teacher: TeacherSettings, output_url: str) -> JobConfig:
        """Return the job with a teacher and an output. Without evidence.min_score it takes the floor of the kind."""
        values = self.model_dump(mode="json", exclude_unset=True)
        whole = {"teacher": teacher.model_dump(mode="json"), "output": {"url": output_url}}
        return JobConfig.model_validate({**values, **whole})


class FirstTeacher(Settings):
    """The teacher of round 1, of any kind. Further fields are the settings of its kind, as in a job."""

    model_config = ConfigDict(extra="allow")

    kind: str | None = Field(
        None, description="kind of the teacher, as in a job; left out, it is recognized from the model"
    )
    model: str = Field(
        "", description="path or hub id of the model, as in a job; left out only for a kind that needs none"
    )
    start: str | None = Field(
        None,
        description="GLIP directory from which students start; needed by `begin: teacher_start`. For a GLIP teacher "
        "the model that it was trained from",
    )

    @model_validator(mode="before")
    @classmethod
    def _check_settings(cls, values: object) -> object:
        """Check the settings of a named kind. Those of a kind that is recognized are checked when rounds begin."""
        if not isinstance(values, Mapping):
            return values
        if values.get("kind") is not None:
            parse_teacher({name: value for name, value in values.items() if name != "start"})
        elif not values.get("model"):
            raise ConfigError("teacher.model is missing; give the path of a model, or name teacher.kind")
        return values

    def settings(self) -> dict[str, Any]:
        """Return the fields that were given, except `start`, as the section `teacher` of a job has them."""
        values = self.model_dump(mode="json", exclude_unset=True, exclude={"start"})
        return {name: value for name, value in values.items() if name != "kind" or value is not None}


class Suite(Settings):
    """Human gold that every model of a round is evaluated on."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    gold: str = Field(description="COCO JSON or a folder of imported gold")
    images: str | None = Field(None, description="folder or shards of its images, if the gold names none")
    group_by: str = Field("frequency", description="category field that names the group")
    protocol: Literal["coco", "lvis", "fixed_ap"] = Field(
        "coco", description="rules: coco, lvis (federated) or fixed_ap (LVIS without a limit per image)"
    )


class Measure(Settings):
    """One number of one suite."""

    suite: str
    name: str = Field("AP", description="one of the twelve COCO numbers, or R@1, R@5, R@10 for phrases")
    group: str = Field("", description="group of categories; empty: all")

    def label(self) -> str:
        """Return `suite/group/name`."""
        return "/".join(part for part in (self.suite, self.group, self.name) if part)


class GuardMeasure(Measure):
    """A number of which the student may lose at most a budget, compared with its teacher."""

    budget: float = Field(0.01, ge=0, le=1, description="as a fraction: 0.01 is one point")


class Brakes(Settings):
    """The limits at which a round stops instead of promoting its student."""

    min_gain: float = Field(
        0.0, description="the gain over the control in the target must be above it, as a fraction"
    )
    gain_interval: bool = Field(
        True, description="the gain's 95 % interval over images must be above min_gain, not just its value"
    )
    boxes_per_image: float = Field(
        3.0, gt=0, description="maximum of boxes per image with a box, as a multiple of the gold's"
    )
    decoy_rise: float = Field(
        0.02, ge=0, description="maximum rise since round 1 of the share of decoys with a box"
    )


class AuditGate(Settings):
    """A sample of every round's view that a person reviews before a student is trained on it."""

    n: int = Field(200, ge=1, description="regions in the sample")
    seed: int = 0
    min_precision: float = Field(
        0.8, ge=0, le=1, description="the lower end of the precision's interval must reach it"
    )


class RoundsConfig(Settings):
    """Several rounds. The teacher of each is the student of the one before."""

    out: str = Field(description="folder for the output of all rounds")
    rounds: int = Field(1, ge=1, le=99)
    teacher: FirstTeacher
    label: LabelSettings
    policy: Policy = Field(default_factory=Policy)
    first_policy: Policy | None = Field(
        None, description="policy of round 1, whose teacher may have scores on another scale; null: `policy`"
    )
    gold: str = Field(description="folder of gold with which the pseudo boxes per image are compared")
    audit: AuditGate | None = Field(None, description="null: no audit, and the report says so")
    student: dict[str, Any] = Field(
        description=f"a training without start and out; the stream with url {VIEW} is the round's view"
    )
    control: dict[str, Any] = Field(description="the same compute on gold alone")
    begin: Literal["teacher", "teacher_start"] = Field(
        "teacher", description="model from which student and control start"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="share of the teacher's weights in the promoted student"
    )
    evaluate: tuple[Suite, ...] = Field(min_length=1)
    target: Measure
    guards: tuple[GuardMeasure, ...] = Field(
        (), description="what the student may not forget; default: AP of every suite, with the default budget"
    )
    brakes: Brakes = Field(default_factory=Brakes)
    draws: int = Field(200, ge=20, description="draws of the bootstrap over images")

    @model_validator(mode="before")
    @classmethod
    def _add_default_guards(cls, values: Any) -> Any:
        if (
            not isinstance(values, dict)
            or "guards" in values
            or not isinstance(values.get("evaluate"), list | tuple)
        ):
            return values
        suites = [suite for suite in values["evaluate"] if isinstance(suite, dict) and "name" in suite]
        return {**values, "guards": [{"suite": suite["name"]} for suite in suites]}

    @model_validator(mode="after")
    def _check_comparison(self) -> RoundsConfig:
        student = self.training("student", VIEW, _SET_BY_ROUNDS)
        control = self.training("control", VIEW, _SET_BY_ROUNDS)
        urls = [stream.url for stream in student.streams]
        if any(stream.prompts.phrase_list for stream in student.streams if stream.url == VIEW):
            raise ValueError(f"the stream {VIEW} is not gold; set phrase_list: 0 in its prompts")
        if urls.count(VIEW) != 1 or any(stream.url == VIEW for stream in control.streams):
            raise ValueError(
                f"expected exactly one stream with url {VIEW} in the student and none in the control; correct "
                "the streams"
            )
        for name in _EQUAL:
            ours, theirs = getattr(student, name), getattr(control, name)
            if ours != theirs:
                raise ValueError(
                    f"student and control differ in {name} ({ours!r} and {theirs!r}), so a gain could not be "
                    "attributed to the labels; make them equal"
                )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> RoundsConfig:
        suites = [suite.name for suite in self.evaluate]
        if len(set(suites)) != len(suites):
            raise ValueError(f"two suites have the same name in {suites}; rename one")
        for measure in (self.target, *self.guards):
            if measure.suite not in suites:
                raise ValueError(
                    f"{measure.label()}: suite {measure.suite!r} is unknown; expected one of {', '.join(suites)}"
                )
            if measure.name not in (*_COCO_NUMBERS, *_RECALL):
                raise ValueError(
                    f"{measure.label()}: {measure.name!r} is unknown; expected one of "
                    f"{', '.join((*_COCO_NUMBERS, *_RECALL))}"
                )
        if self.target.name.startswith("R@") and self.brakes.gain_interval:
            raise ValueError(
                f"{self.target.label()} has no paired interval; set brakes.gain_interval: false, or use an AP as target"
            )
        if self.begin == "teacher_start" and self.teacher.start is None:
            raise ValueError(
                "begin: teacher_start needs teacher.start; set it to the GLIP directory from which the teacher was "
                "trained, or from which the students are to start"
            )
        if "://" in self.out:
            raise ValueError(
                f"out {self.out!r} is a URL; expected a local folder, because trained models are written there"
            )
        return self

    def policy_of(self, number: int) -> Policy:
        """Return the policy of a round, counted from 1."""
        return self.first_policy if number == 1 and self.first_policy is not None else self.policy

    def training(self, name: Arm, view: str, places: dict[str, str]) -> TrainSettings:
        """Return the training of a round's student or control. view: replaces VIEW; places: start and out."""
        values = self.student if name == "student" else self.control
        if extra := sorted(values.keys() & places.keys()):
            raise ValueError(f"{name} sets {', '.join(extra)}, which rounds sets; leave it out")
        folders = [suite.gold for suite in self.evaluate if not suite.gold.endswith(".json")]
        # images of the evaluation are refused in the training data
        values = {"evaluation": folders, **values}
        if self.label.decoys.share:  # the streams of the control do not show that there are decoys
            values = {"probe_nouns": "excluded", **values}
        listed_streams = values.get("streams")
        if not isinstance(listed_streams, list) or not all(isinstance(one, dict) for one in listed_streams):
            raise ValueError(f"{name}.streams is {str(listed_streams)[:80]!r}; expected a list of streams")
        streams = [
            {**stream, "url": view} if stream.get("url") == VIEW else stream for stream in listed_streams
        ]
        return TrainSettings.model_validate({**values, **places, "streams": streams})

    def home(self) -> Path:
        """Return `out` as a path."""
        return Path(self.out)
