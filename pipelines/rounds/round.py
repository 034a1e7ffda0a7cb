"""One round: each arrow from a teacher to its student is a step that is remembered, and can be cut anywhere.

Labelling goes on from its commits, a training from its last checkpoint; a step that is done is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.label.job import JobConfig
from pipelines.rounds.input_digests import compiled_with, measured_on, trained_on
from pipelines.rounds.layout import RoundPlaces
from pipelines.rounds.measure import measure_models, number_of
from pipelines.rounds.settings import RoundsConfig
from pipelines.rounds.stop_rules import Stop, after_audit, after_compile, after_evaluate, after_label
from pipelines.steps.cache import Journal
from schemas.errors import GroundswellError, NotFound
from student.settings.train import TrainSettings
from teacher.labelers.glip_digest import model_files

Progress = Callable[[str, int, int], None]
STEPS = ("label", "compile", "train", "evaluate", "promote")


@dataclass
class Round:
    """The work of one round. `results` fills up step by step; `stops` says why it went no further."""

    config: RoundsConfig
    number: int
    teacher: Path
    places: RoundPlaces
    journal: Journal
    progress: Progress
    decoys: list[float | None]
    results: dict[str, Any] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)

    def run(self) -> bool:
        """Do what is not done yet; False when a brake holds the round."""
        config, places = self.config, self.places
        self._step("label", "the teacher labels", self._label, self._label_parts(), ("evidence/snapshots",))
        if self._held(after_label(self.results["label"], config.label.run.max_rejected)):
            return False
        self._step(
            "compile",
            "the policy makes a view",
            self._compile,
            {"policy": config.policy.identity(), "gold": compiled_with(config)},
            ("view/view.json",),
            (Path(places.view),),
        )
        if self._held(self._compiled()) or self._held(self._audited()):
            return False
        self._learn()
        if self._held(self._judged()):
            return False
        self._step("promote", "the student is promoted", self._promote)
        return True

    def _learn(self) -> None:
        """Train and evaluate."""
        config, folder = self.config, self.places.folder
        trained = ("student", "control")
        self._step(
            "train",
            "student and control learn",
            self._train,
            self._train_parts(),
            tuple(f"{name}/{part}" for name in trained for part in ("model", "report.json")),
            tuple(folder / name for name in trained),
        )
        self._write_card()  # an average takes it over
        names = {"evaluate", "target", "draws", "average"}
        parts = {**config.model_dump(mode="json", include=names), "gold": measured_on(config)}
        self._step("evaluate", "all three are measured", self._evaluate, parts, ("evaluations",))
        self._write_card()

    def _train_parts(self) -> dict[str, Any]:
        """What the trainings depend on beside the steps before; a teacher that they start from is one of those."""
        config = self.config
        data = trained_on(map(self.training, ("student", "control")), self.places.view)
        parts = {"student": config.student, "control": config.control, "begin": config.begin, "data": data}
        if config.begin == "teacher":
            return parts
        return {**parts, "start": model_files(Path(str(config.teacher.start)))}

    def _label_parts(self) -> dict[str, Any]:
        """What the labels depend on, but for the shards' bytes: once labelled they are believed to stay."""
        without = {"run"} if self.config.label.decoys.share else {"run", "decoys"}
        return self.config.label.model_dump(mode="json", exclude=without)

    @property
    def promoted(self) -> Path:
        """The model that is the next round's teacher."""
        return self.places.averaged if self.config.average else self.places.model("student")

    def _step(
        self,
        name: str,
        title: str,
        run: Callable[[], dict[str, Any]],
        parts: dict[str, Any] | None = None,
        made: tuple[str, ...] = (),
        forget: tuple[Path, ...] = (),
    ) -> None:
        files = [self.places.folder / part for part in made]
        self.results[name] = self.journal.step(
            f"round-{self.number}-{name}", f"round {self.number}: {title}", run, files, parts, forget
        )

    def _held(self, stops: Iterator[Stop]) -> bool:
        self.stops = list(stops)
        return bool(self.stops)

    def job(self) -> JobConfig:
        """The round's labelling job."""
        values = self.config.label.model_dump(mode="json", exclude_unset=True)
        teacher, output = {"kind": "glip", "model": str(self.teacher)}, {"url": self.places.evidence}
        return JobConfig.model_validate({**values, "teacher": teacher, "output": output})

    def _label(self) -> dict[str, Any]:
        from pipelines.label.run import label
        from pipelines.rounds.statistics import input_digest

        summary = label(self.job(), progress=self.progress)
        units = summary["units"]
        if units["committed"] != units["planned"]:
            raise GroundswellError(
                f"{units['committed']} of {units['planned']} units are labelled: `groundswell status "
                f"{self.places.evidence}` names the others, `groundswell retry` redoes them; then run this again"
            )
        not_the_labels = ("snapshot", "output", "judged")  # `judged` follows a limit that changes no label
        kept = {name: value for name, value in summary.items() if name not in not_the_labels}
        return {**kept, "input_digest": input_digest(self.places.evidence)}

    def _compile(self) -> dict[str, Any]:
        from pipelines.compile.run import compile_view
        from pipelines.rounds.statistics import boxes_per_image, decoy_false_share

        report = compile_view(
            self.places.evidence, self.config.policy, self.places.view, progress=self.progress
        ).data()
        boxes = {"gold": boxes_per_image(self.config.gold), "pseudo": boxes_per_image(self.places.view)}
        return {**report, "boxes_per_image": boxes, "decoy_false_share": decoy_false_share(report)}

    def _compiled(self) -> Iterator[Stop]:
        found = self.results["compile"]
        self.decoys.append(found["decoy_false_share"])
        return after_compile(self.config.brakes, found["boxes_per_image"], self.decoys)

    def _audited(self) -> Iterator[Stop]:
        from pipelines.audit.commands import open_audit, report_audit

        gate = self.config.audit
        if gate is None:
            return iter(())
        folder = self.places.audit(self.results["compile"]["digest"])
        open_audit(self.places.view, folder, n=gate.n, seed=gate.seed)
        try:
            findings: dict[str, Any] | None = report_audit(folder, view=self.places.view).data()
        except NotFound:
            findings = None
        self.results["audit"] = findings
        return after_audit(gate, findings, str(folder))

    def _train(self) -> dict[str, Any]:
        from pipelines.label.interrupt import stop_training_when_asked
        from student.training.train import train

        with stop_training_when_asked() as stop:
            return {name: train(self.training(name), self.progress, stop) for name in ("student", "control")}

    def _write_card(self) -> None:
        """The student's card with the view's audit and its own numbers: not those of an average.

        No step, but written each time: what a card tells is made by steps before and after the one that trains.
        """
        from student.training.model_card import CardReports, write_card

        findings, suites = self.results.get("audit"), self.results.get("evaluate", {}).get("suites", {})
        decided = findings is not None and findings["precision"]["value"] is not None
        own = {} if self.config.average else {suite: found["student"] for suite, found in suites.items()}
        report = self.results["train"]["student"]
        card_reports = CardReports([findings] if decided else [], own)
        write_card(self.places.model("student"), self.training("student"), report, card_reports)

    def training(self, name: Any) -> TrainSettings:
        """The training of the round's `student` or `control`."""
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

    def _judged(self) -> Iterator[Stop]:
        found, config = self.results["evaluate"], self.config
        numbers = {
            guard.label(): {
                name: number_of(evaluation, guard)
                for name, evaluation in found["suites"][guard.suite].items()
            }
            for guard in config.guards
        }
        return after_evaluate(config.brakes, config.target, found["gain"], config.guards, numbers)

    def _promote(self) -> dict[str, Any]:
        files = model_files(self.promoted)
        record = {"model": str(self.promoted), "files": files, "round": self.number}
        (self.places.folder / "promoted.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        return {"files": files, "averaged": self.config.average}
