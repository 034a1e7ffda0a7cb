"""One round: the steps from a teacher to its student. Each step is cached and can be interrupted anywhere.

Labeling continues from its commits, a training from its last checkpoint. A finished step is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from engine.storage.local_files import replace_file
from pipelines.compile.policy import Policy
from pipelines.label.job import JobConfig
from pipelines.rounds.input_digests import (
    digest_compile_inputs,
    digest_evaluation_inputs,
    digest_training_inputs,
)
from pipelines.rounds.layout import RoundLayout, locate_round
from pipelines.rounds.measure import get_number, measure_models
from pipelines.rounds.results import (
    BoxesPerImage,
    EvaluationResult,
    LabelResult,
    Promotion,
    RoundResults,
    ViewResult,
)
from pipelines.rounds.settings import ARMS, Arm, RoundsConfig
from pipelines.rounds.stop_rules import (
    StopReason,
    judge_audit,
    judge_evaluation,
    judge_labels,
    judge_view,
)
from pipelines.steps.cache import Result, StepCache
from pipelines.steps.outputs import AuditOutput, TrainedPair
from schemas.errors import GroundswellError, NotFoundError
from schemas.progress import ProgressCallback
from student.settings.train import TrainSettings
from teacher.factories import locate_teacher
from teacher.labelers.glip_settings import model_files
from teacher.registry import TeacherSettings

STEPS = ("label", "compile", "train", "evaluate", "promote")


@dataclass
class Round:
    """The work of one round. Each step adds to `results`; `stops` has the reasons why the round stopped."""

    config: RoundsConfig
    number: int
    teacher: TeacherSettings
    places: RoundLayout
    cache: StepCache
    progress: ProgressCallback
    decoys: list[float | None]
    results: RoundResults = field(default_factory=RoundResults)
    stops: list[StopReason] = field(default_factory=list)

    def run(self) -> bool:
        """Run the steps that are not done yet. Return False if a stop rule ends the round."""
        config, places = self.config, self.places
        self.results["label"] = self._run_step(
            "label", "label with the teacher", self._label, self._label_parts(), ("evidence/snapshots",)
        )
        if self._is_stopped(judge_labels(self.results["label"], config.label.run.max_rejected)):
            return False
        self.results["compile"] = self._run_step(
            "compile",
            "compile the view",
            self._compile,
            {"policy": self.policy.identity(), "gold": digest_compile_inputs(config, self.policy)},
            ("view/view.json",),
            (Path(places.view),),
        )
        if self._is_stopped(self._check_view()) or self._is_stopped(self._check_audit()):
            return False
        self._train_and_evaluate()
        if self._is_stopped(self._check_evaluation()):
            return False
        self.results["promote"] = self._run_step("promote", "promote the student", self._promote)
        return True

    def _train_and_evaluate(self) -> None:
        """Train student and control, and evaluate all three models."""
        config, folder = self.config, self.places.folder
        self.results["train"] = self._run_step(
            "train",
            "train student and control",
            self._train,
            self._train_parts(),
            tuple(f"{name}/{part}" for name in ARMS for part in ("model", "report.json")),
            tuple(folder / name for name in ARMS),
        )
        self._write_card()  # an average copies the card
        names = {"evaluate", "target", "draws", "average"}
        parts = {**config.model_dump(mode="json", include=names), "gold": digest_evaluation_inputs(config)}
        self.results["evaluate"] = self._run_step(
            "evaluate", "evaluate all three models", self._evaluate, parts, ("evaluations",)
        )
        self._write_card()

    def _train_parts(self) -> dict[str, object]:
        """Return what the trainings depend on besides earlier steps, which include the teacher."""
        config = self.config
        data = digest_training_inputs(map(self.training, ARMS), self.places.view)
        parts: dict[str, object] = {
            "student": config.student,
            "control": config.control,
            "begin": config.begin,
            "data": data,
        }
        if config.begin == "teacher":
            return parts
        return {**parts, "start": model_files(Path(str(config.teacher.start)))}

    def _label_parts(self) -> dict[str, object]:
        """Return what the labels depend on, except the bytes of the shards, which are assumed not to change."""
        without = {"run"} if self.config.label.decoys.share else {"run", "decoys"}
        parts = self.config.label.model_dump(mode="json", exclude=without)
        return {**parts, "evidence": self.job().evidence.model_dump(mode="json")}

    @property
    def policy(self) -> Policy:
        """The policy of the round."""
        return self.config.policy_of(self.number)

    @property
    def promoted(self) -> Path:
        """The model that is the teacher of the next round."""
        return self.places.averaged if self.config.average else self.places.model("student")

    def _run_step(
        self,
        name: str,
        title: str,
        run: Callable[[], Result],
        parts: Mapping[str, object] | None = None,
        outputs: tuple[str, ...] = (),
        forget: tuple[Path, ...] = (),
    ) -> Result:
        files = [self.places.folder / part for part in outputs]
        return self.cache.run_step(
            f"round-{self.number}-{name}", f"round {self.number}: {title}", run, files, parts, forget
        )

    def _is_stopped(self, stops: Iterator[StopReason]) -> bool:
        self.stops = list(stops)
        return bool(self.stops)

    def job(self) -> JobConfig:
        """Return the labeling job of the round."""
        return self.config.label.job(self.teacher, self.places.evidence)

    def _label(self) -> LabelResult:
        from pipelines.label.run import label
        from pipelines.rounds.statistics import compute_input_digest

        summary = label(self.job(), progress=self.progress)
        units = summary["units"]
        if units["committed"] != units["planned"]:
            raise GroundswellError(
                f"only {units['committed']} of {units['planned']} units are labeled; list the others with `groundswell "
                f"status {self.places.evidence}`, redo them with `groundswell retry {self.places.evidence}`, then run "
                "this command again"
            )
        not_the_labels = ("snapshot", "output", "judged")  # `judged` follows a limit that changes no label
        stable = {name: value for name, value in summary.items() if name not in not_the_labels}
        digest = compute_input_digest(self.places.evidence)
        return cast(LabelResult, {**stable, "input_digest": digest})

    def _compile(self) -> ViewResult:
        from pipelines.compile.run import compile_view
        from pipelines.rounds.statistics import count_boxes_per_image, get_decoy_false_share

        report = compile_view(
            self.places.evidence, self.policy, self.places.view, progress=self.progress
        ).data()
        boxes: BoxesPerImage = {
            "gold": count_boxes_per_image(self.config.gold),
            "pseudo": count_boxes_per_image(self.places.view),
        }
        numbers = {"boxes_per_image": boxes, "decoy_false_share": get_decoy_false_share(report)}
        return cast(ViewResult, {**report, **numbers})

    def _check_view(self) -> Iterator[StopReason]:
        found = self.results["compile"]
        self.decoys.append(found["decoy_false_share"])
        return judge_view(self.config.brakes, found["boxes_per_image"], self.decoys)

    def _check_audit(self) -> Iterator[StopReason]:
        from pipelines.audit.commands import open_audit, report_audit

        gate = self.config.audit
        if gate is None:
            return iter(())
        folder = self.places.audit(self.results["compile"]["digest"])
        open_audit(self.places.view, folder, n=gate.n, seed=gate.seed)
        try:
            findings: AuditOutput | None = cast(
                AuditOutput, report_audit(folder, view=self.places.view).data()
            )
        except NotFoundError:
            findings = None
        self.results["audit"] = findings
        return judge_audit(gate, findings, str(folder))

    def _train(self) -> TrainedPair:
        from pipelines.terminal.interrupt import drain_training_on_signal
        from student.training.train import train

        with drain_training_on_signal() as stop:
            reports = {name: train(self.training(name), self.progress, stop) for name in ARMS}
        return cast(TrainedPair, reports)

    def _write_card(self) -> None:
        """Write the student's card with the view's audit and the student's own numbers, not those of an average.

        It is written on every call and is not a step, because the card's content comes from several steps.
        """
        from student.training.model_card import CardReports, write_card

        findings = self.results.get("audit")
        evaluated = self.results.get("evaluate")
        suites = {} if evaluated is None or self.config.average else evaluated["suites"]
        own = {suite: dict(evaluations["student"]) for suite, evaluations in suites.items()}
        is_judged = findings is not None and findings["precision"]["value"] is not None
        report = self.results["train"]["student"]
        card_reports = CardReports([dict(findings)] if findings is not None and is_judged else [], own)
        write_card(self.places.model("student"), self.training("student"), dict(report), card_reports)

    def training(self, name: Arm) -> TrainSettings:
        """Return the training of the round's student or control."""
        is_start = self.config.begin == "teacher_start"
        start = self.config.teacher.start if is_start else locate_teacher(self.teacher)
        places = {"start": str(start), "out": str(self.places.training(name))}
        settings = self.config.training(name, self.places.view, places)
        from student.training.report import inherit_stored_settings

        # a setting that was added since the first round has its value of that round
        return inherit_stored_settings(settings, locate_round(self.config.home(), 1).training(name))[0]

    def _evaluate(self) -> EvaluationResult:
        from student.models.averaging import average_models

        if self.config.average:
            self.places.averaged.parent.mkdir(parents=True, exist_ok=True)
            student = self.places.model("student")
            teacher = locate_teacher(self.teacher)
            average_models(student, teacher, self.config.average, self.places.averaged)
        models: dict[str, Path | TeacherSettings] = {
            "teacher": self.teacher,
            "control": self.places.model("control"),
            "student": self.promoted,
        }
        return measure_models(self.config, self.places, models, self.progress)

    def _check_evaluation(self) -> Iterator[StopReason]:
        found, config = self.results["evaluate"], self.config
        numbers = {
            guard.label(): {
                name: get_number(evaluation, guard)
                for name, evaluation in found["suites"][guard.suite].items()
            }
            for guard in config.guards
        }
        return judge_evaluation(config.brakes, config.target, found["gain"], config.guards, numbers)

    def _promote(self) -> Promotion:
        files = model_files(self.promoted)
        record = {"model": str(self.promoted), "files": files, "round": self.number}
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        replace_file(self.places.folder / "promoted.json", text.encode())
        return {"files": files, "averaged": self.config.average}
