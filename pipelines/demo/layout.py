"""The paths of the demo."""

from __future__ import annotations

from pathlib import Path

from pipelines.demo.world.build import World
from pipelines.steps.layout import LoopLayout

TRAINED = ("teacher", "control", "student")


class DemoLayout(LoopLayout):
    """The paths in the demo's folder. The trainings are start, base, teacher, control and student."""

    @property
    def world(self) -> World:
        """Gold, web shards, held-out test set, truth."""
        return World(self.folder / "world")

    @property
    def audit(self) -> Path:
        """Output of `audit sample`."""
        return self.folder / "audit"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def results(self, name: str) -> Path:
        """Return the file of a model's detections on the held-out scenes."""
        return self.folder / name / "test_results.json"

    def config(self, name: str) -> Path:
        """Return the path of a configuration file, e.g. job.yaml."""
        return self.folder / f"{name}.yaml"

    def outputs_of(self, step: str) -> tuple[Path, ...]:
        """Return the files and folders that a step must make. Without them it is not done."""
        trained = {
            name: (self.model(name), self.training(name) / "report.json") for name in ("base", *TRAINED)
        }
        return {
            "world": tuple(
                self.world.folder / part for part in ("gold", "test", "web", "truth", "world.json")
            ),
            "teacher": (self.training("start"), *trained["base"], *trained["teacher"]),
            "label": tuple(Path(self.evidence) / part for part in ("commits", "data", "snapshots")),
            "compile": (Path(self.view),),
            "train": (*trained["student"], *trained["control"]),
            "evaluate": tuple(self.results(name) for name in TRAINED),
            "audit": (self.audit / "sample.json",),
            "report": (self.report,),
        }[step]
