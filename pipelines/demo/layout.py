"""The paths of the demo, and its configuration files, with which each step can be repeated by hand."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from pipelines.demo.recipe import Recipe
from pipelines.demo.world.build import World
from pipelines.label.job import JobConfig
from student.settings.train import TrainSettings

UNIT_SAMPLES = 150
ACTORS = 2
LABEL_BATCH_SIZE = 16
TRAINED = ("teacher", "control", "student")


@dataclass(frozen=True)
class DemoLayout:
    """The paths in the demo's folder. Each part is the output of the verb of the same name."""

    folder: Path

    @property
    def world(self) -> World:
        """Gold, web shards, held-out test set, truth."""
        return World(self.folder / "world")

    @property
    def evidence(self) -> str:
        """Output of `label`."""
        return str(self.folder / "evidence")

    @property
    def view(self) -> str:
        """Output of `compile`."""
        return str(self.folder / "view")

    @property
    def audit(self) -> Path:
        """Output of `audit sample`."""
        return self.folder / "audit"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def run(self, name: str) -> Path:
        """Return the folder of a training: start, base, teacher, control or student."""
        return self.folder / name

    def model(self, name: str) -> Path:
        """Return the model directory of a training."""
        return self.folder / name / "model"

    def results(self, name: str) -> Path:
        """Return the file of a model's detections on the held-out scenes."""
        return self.folder / name / "test_results.json"

    def config(self, name: str) -> Path:
        """Return the path of a configuration file, e.g. job.yaml."""
        return self.folder / f"{name}.yaml"

    def outputs_of(self, step: str) -> tuple[Path, ...]:
        """Return the files and folders that a step must make. Without them it is not done."""
        trained = {name: (self.model(name), self.run(name) / "report.json") for name in ("base", *TRAINED)}
        return {
            "world": tuple(
                self.world.folder / part for part in ("gold", "test", "web", "truth", "world.json")
            ),
            "teacher": (self.run("start"), *trained["base"], *trained["teacher"]),
            "label": tuple(Path(self.evidence) / part for part in ("commits", "data", "snapshots")),
            "compile": (Path(self.view),),
            "train": (*trained["student"], *trained["control"]),
            "evaluate": tuple(self.results(name) for name in TRAINED),
            "audit": (self.audit / "sample.json",),
            "report": (self.report,),
        }[step]

    def job(self, recipe: Recipe) -> JobConfig:
        """Return the labeling job for the web shards."""
        return JobConfig.model_validate(
            {
                "input": {"urls": [str(self.world.folder / "web" / "*.tar")], "unit_samples": UNIT_SAMPLES},
                "phrases": {"pipeline": "bundled"},
                "teacher": {"kind": "glip", "model": str(self.model("teacher"))},
                "output": {"url": self.evidence},
                "run": {"actors": {"min": 1, "max": ACTORS}, "batch_size": LABEL_BATCH_SIZE},
            }
        )

    def trainings(self, recipe: Recipe) -> dict[str, TrainSettings]:
        """Return the trainings by name, in the order in which they run."""
        gold, teacher = self.world.gold_view, self.model("teacher")
        return {
            "base": recipe.teacher(self.run("start"), gold, self.run("base")),
            "teacher": recipe.labeling_teacher(self.model("base"), gold, self.run("teacher")),
            "control": recipe.control(teacher, gold, self.run("control")),
            "student": recipe.student(teacher, gold, self.view, self.run("student")),
        }

    def write_configs(self, recipe: Recipe) -> None:
        """Write job.yaml, policy.yaml and one file per training."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configs = {"job": self.job(recipe), "policy": recipe.policy, **self.trainings(recipe)}
        for name, settings in configs.items():
            self.config(name).write_text(format_yaml(settings), encoding="utf-8")


def format_yaml(settings: BaseModel) -> str:
    """Format the fields that were set as YAML. Defaults are left out, except a discriminator such as `kind`."""
    values: dict[str, Any] = settings.model_dump(mode="json", exclude_unset=True)
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, text)
    return text.getvalue()
