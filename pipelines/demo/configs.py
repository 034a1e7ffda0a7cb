"""The configuration files of the demo, with which each step can be repeated by hand."""

from __future__ import annotations

from io import StringIO
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from pipelines.demo.layout import DemoLayout
from pipelines.demo.recipe import Recipe
from pipelines.label.job import JobConfig
from student.settings.train import TrainSettings

UNIT_SAMPLES = 150
ACTORS = 2
LABEL_BATCH_SIZE = 16


def make_job(places: DemoLayout) -> JobConfig:
    """Return the labeling job for the web shards."""
    return JobConfig.model_validate(
        {
            "input": {"urls": [str(places.world.folder / "web" / "*.tar")], "unit_samples": UNIT_SAMPLES},
            "phrases": {"pipeline": "bundled"},
            "teacher": {"kind": "glip", "model": str(places.model("teacher"))},
            "output": {"url": places.evidence},
            "run": {"actors": {"min": 1, "max": ACTORS}, "batch_size": LABEL_BATCH_SIZE},
        }
    )


def make_trainings(places: DemoLayout, recipe: Recipe) -> dict[str, TrainSettings]:
    """Return the trainings by name, in the order in which they run."""
    gold, teacher = places.world.gold_view, places.model("teacher")
    return {
        "base": recipe.teacher(places.training("start"), gold, places.training("base")),
        "teacher": recipe.labeling_teacher(places.model("base"), gold, places.training("teacher")),
        "control": recipe.control(teacher, gold, places.training("control")),
        "student": recipe.student(teacher, gold, places.view, places.training("student")),
    }


def write_configs(places: DemoLayout, recipe: Recipe) -> None:
    """Write job.yaml, policy.yaml and one file per training."""
    places.folder.mkdir(parents=True, exist_ok=True)
    configs = {"job": make_job(places), "policy": recipe.policy, **make_trainings(places, recipe)}
    for name, settings in configs.items():
        places.config(name).write_text(format_yaml(settings), encoding="utf-8")


def format_yaml(settings: BaseModel) -> str:
    """Format the fields that were set as YAML. Defaults are left out, except a discriminator such as `kind`."""
    values: dict[str, Any] = settings.model_dump(mode="json", exclude_unset=True)
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(values, text)
    return text.getvalue()
