"""One round: the steps from a teacher to its student. Each step is cached and can be interrupted anywhere.

Labeling continues from its commits, a training from its last checkpoint. A finished step is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.label.job import JobConfig
from pipelines.rounds.input_digests import (
    digest_compile_inputs,
    digest_evaluation_inputs,
    digest_training_inputs,
)
from pipelines.rounds.layout import RoundLayout
from pipelines.rounds.measure import get_number, measure_models
from pipelines.rounds.settings import Arm, RoundsConfig
from pipelines.rounds.stop_rules import (
    StopReason,
    judge_audit,
    judge_evaluation,
    judge_labels,
    judge_view,
)
from pipelines.steps.cache import StepCache
from schemas.errors import GroundswellError, NotFoundError
from schemas.progress import ProgressCallback
from student.settings.train import TrainSettings
from teacher.labelers.glip_settings import model_files
from teacher.registry import recognize_model

ARMS: tuple[Arm, Arm] = ("student", "control")
STEPS = ("label", "compile", "train", "evaluate", "promote")


@dataclass
class Round:
    """The work of one round. Each step adds to `results`; `stops` has the reasons why the round stopped."""

    config: RoundsConfig
    number: int
    teacher: Path
    places: RoundLayout
    cache: StepCache
    progress: ProgressCallback
    decoys: list[float | None]
    results: dict[str, Any] = field(default_factory=dict)
    stops: list[StopReason] = field(default_factory=list)

    def run(self) -> bool:
        """Run the steps that are not done yet. Return False if a stop rule ends the round."""
        config, places = self.config, self.places
        self._step(
            "label", "label with the teacher", self._label, self._label_parts(), ("evidence/snapshots",)
        )
        if self._is_stopped(judge_labels(self.results["label"], config.label.run.max_rejected)):
            return False
        self._step(
            "compile",
            "compile the view",
            self._compile,
            {"policy": config.policy.identity(), "gold": digest_compile_inputs(config)},
            ("view/view.json",),
            (Path(places.view),),
        )
        if self._is_stopped(self._check_view()) or self._is_stopped(self._check_audit()):
            return False
        self._train_and_evaluate()
        if self._is_stopped(self._check_evaluation()):
            return False
        self._step("promote", "promote the student", self._promote)
        return True

    def _train_and_evaluate(self) -> None:
        """Train student and control, and evaluate all three models."""
        config, folder = self.config, self.places.folder
        self._step(
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
        self._step("evaluate", "evaluate all three models", self._evaluate, parts, ("evaluations",))
        self._write_card()

    def _train_parts(self) -> dict[str, Any]:
        """Return what the trainings depend on besides earlier steps, which include the teacher."""
        config = self.config
        data = digest_training_inputs(map(self.training, ARMS), self.places.view)
        parts = {"student": config.student, "control": config.control, "begin": config.begin, "data": data}
        if config.begin == "teacher":
            return parts
        return {**parts, "start": model_files(Path(str(config.teacher.start)))}

    def _label_parts(self) -> dict[str, Any]:
        """Return what the labels depend on, except the bytes of the shards, which are assumed not to change."""
        without = {"run"} if self.config.label.decoys.share else {"run", "decoys"}
        return self.config.label.model_dump(mode="json", exclude=without)

    @property
    def promoted(self) -> Path:
        """The model that is the teacher of the next round."""
        return self.places.averaged if self.config.average else self.places.model("student")

    def _step(
        self,
        name: str,
        title: str,
        run: Callable[[], dict[str, Any]],
        parts: dict[str, Any] | None = None,
        outputs: tuple[str, ...] = (),
        forget: tuple[Path, ...] = (),
    ) -> None:
        files = [self.places.folder / part for part in outputs]
        self.results[name] = self.cache.run_step(
            f"round-{self.number}-{name}", f"round {self.number}: {title}", run, files, parts, forget
        )

    def _is_stopped(self, stops: Iterator[StopReason]) -> bool:
        self.stops = list(stops)
        return bool(self.stops)

    def job(self) -> JobConfig:
        """Return the labeling job of the round."""
        values = self.config.label.model_dump(mode="json", exclude_unset=True)
        kind, _ = recognize_model(self.teacher)
        teacher, output = {"kind": kind, "model": str(self.teacher)}, {"url": self.places.evidence}
        return JobConfig.model_validate({**values, "teacher": teacher, "output": output})

    def _label(self) -> dict[str, Any]:
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
        return {**stable, "input_digest": compute_input_digest(self.places.evidence)}

    def _compile(self) -> dict[str, Any]:
        from pipelines.compile.run import compile_view
        from pipelines.rounds.statistics import count_boxes_per_image, get_decoy_false_share

        report = compile_view(
            self.places.evidence, self.config.policy, self.places.view, progress=self.progress
        ).data()
        boxes = {
            "gold": count_boxes_per_image(self.config.gold),
            "pseudo": count_boxes_per_image(self.places.view),
        }
        return {**report, "boxes_per_image": boxes, "decoy_false_share": get_decoy_false_share(report)}

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
            findings: dict[str, Any] | None = report_audit(folder, view=self.places.view).data()
        except NotFoundError:
            findings = None
        self.results["audit"] = findings
        return judge_audit(gate, findings, str(folder))

    def _train(self) -> dict[str, Any]:
        from pipelines.terminal.interrupt import drain_training_on_signal
        from student.training.train import train

        with drain_training_on_signal() as stop:
            return {name: train(self.training(name), self.progress, stop) for name in ARMS}

    def _write_card(self) -> None:
        """Write the student's card with the view's audit and the student's own numbers, not those of an average.

        It is written on every call and is not a step, because the card's content comes from several steps.
        """
        from student.training.model_card import Told, write_card

        findings, suites = self.results.get("audit"), self.results.get("evaluate", {}).get("suites", {})
        decided = findings is not None and findings["precision"]["value"] is not None
        own = {} if self.config.average else {suite: found["student"] for suite, found in suites.items()}
        report = self.results["train"]["student"]
        told = Told([findings] if decided else [], own)
        write_card(self.places.model("student"), self.training("student"), report, told)

    def training(self, name: Arm) -> TrainSettings:
        """Return the training of the round's student or control."""
        start = self.config.teacher.start if self.config.begin == "teacher_start" else str(self.teacher)
        places = {"start": str(start), "out": str(self.places.training(name))}
        return self.config.training(name, self.places.view, places)

    def _evaluate(self) -> dict[str, Any]:
        from student.models.averaging import average_models

        if self.config.average:
            self.places.averaged.parent.mkdir(parents=True, exist_ok=True)
            student = self.places.model("student")
            average_models(student, self.teacher, self.config.average, self.places.averaged)
        models = {
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

    def _promote(self) -> dict[str, Any]:
        files = model_files(self.promoted)
        record = {"model": str(self.promoted), "files": files, "round": self.number}
        (self.places.folder / "promoted.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        return {"files": files, "averaged": self.config.average}
