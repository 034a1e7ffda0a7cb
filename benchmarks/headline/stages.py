"""What each kind of cell does: the demo's own parts, in one process with one thread.

Promise: a stage reads its inputs' folders and writes its own; only trainings and labelings find something to go on
with in a folder that a kill left behind, all others begin anew. Heavy libraries are imported where they are needed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import GroundswellError
from schemas.progress import ProgressCallback

RESUMED = ("train", "evidence")
CHECKPOINT_STEPS = 200


@dataclass(frozen=True)
class Job:
    """A cell where it is run: folders of its inputs by role, and its own."""

    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    progress: ProgressCallback = lambda label, done, total: None


def run_stage(job: Job) -> dict[str, Any]:
    """Do what the cell's kind says; returns its result as JSON."""
    if job.kind not in RESUMED:
        shutil.rmtree(job.out, ignore_errors=True)
    job.out.mkdir(parents=True, exist_ok=True)
    return STAGES[job.kind](job)


def _gold(job: Job) -> dict[str, Any]:
    """`gold/` and `test/` of a world."""
    from pipelines.demo.world.build import build_world
    from pipelines.demo.world.settings import WorldSettings

    world, _ = build_world(job.out, WorldSettings.model_validate(job.settings), job.progress)
    return dict(json.loads(world.manifest.read_text()))


def _web(job: Job) -> dict[str, Any]:
    """`web/*.tar` of a world, and its truth beside it."""
    from pipelines.demo.world.settings import WorldSettings
    from pipelines.demo.world.web import write_web

    truth = job.out / "truth" / "web.jsonl"
    return {"shards": len(write_web(job.out / "web", truth, WorldSettings.model_validate(job.settings)))}


def _change_captions(job: Job) -> dict[str, Any]:
    """`web/*.tar` with the same images and other captions."""
    from benchmarks.headline.changed_webs import CAPTIONS, recaption

    change = CAPTIONS[job.settings["captions"]]
    return {"samples": recaption(job.inputs["web"] / "web", job.out / "web", change, job.settings["seed"])}


def _task(job: Job) -> dict[str, Any]:
    """`gold/view` of a new small task whose categories are the tail nouns, and `test/` with those alone."""
    from pipelines.demo.world.gold import draw_test_scenes, write_gold
    from pipelines.demo.world.lexicon import TAIL_NOUNS
    from pipelines.demo.world.settings import WorldSettings

    settings = WorldSettings.model_validate(job.settings)
    learned = settings.model_copy(update={"test_images": settings.gold_images, "seed": settings.seed + 1})
    write_gold(job.out / "gold", "task", draw_test_scenes(learned), learned)
    write_gold(job.out / "test", "test", draw_test_scenes(settings), settings)
    path = job.out / "test" / "coco.json"
    coco = json.loads(path.read_text())
    coco["categories"] = [category for category in coco["categories"] if category["name"] in TAIL_NOUNS]
    path.write_text(json.dumps(coco))
    return {"images": settings.gold_images}


def _start(job: Job) -> dict[str, Any]:
    """`model/` with random weights."""
    from pipelines.demo.initial_model import write_start
    from pipelines.demo.world.settings import WorldSettings

    world = WorldSettings.model_validate(job.settings["world"])
    write_start(job.out / "model", world, fusion=job.settings["fusion"])
    return {}


def _evidence(job: Job) -> dict[str, Any]:
    """`evidence/` of a web by a teacher, labeled in this process."""
    from pipelines.label.job import JobConfig
    from pipelines.label.run import label

    chosen = job.settings
    shards = str(job.inputs["web"] / "web" / "*.tar")
    config = JobConfig.model_validate(
        {
            "input": {"urls": [shards], "unit_samples": chosen["unit_samples"]},
            "phrases": {"pipeline": chosen["pipeline"]},
            "teacher": {"kind": "glip", "model": str(job.inputs["teacher"] / "model")},
            "output": {"url": str(job.out / "evidence")},
            "run": {"executor": "local", "batch_size": chosen["batch_size"]},
        }
    )
    summary = label(config, progress=job.progress)
    units = summary["units"]
    if units["committed"] != units["planned"]:
        raise GroundswellError(f"{units['committed']} of {units['planned']} units are labeled: run again")
    return {"samples": summary["samples"], "regions": summary["regions"]}


def _view(job: Job) -> dict[str, Any]:
    """`view/` of evidence under a policy."""
    from pipelines.compile.policy import Policy
    from pipelines.compile.run import compile_view

    policy = Policy.from_record(job.settings)
    evidence, view = str(job.inputs["evidence"] / "evidence"), str(job.out / "view")
    report = compile_view(evidence, policy, view, allow_unlabeled=True).data()
    return {"regions": report["regions"], "phrases": report["phrases"]}


def _changed_view(job: Job) -> dict[str, Any]:
    """`view/` with the same images and captions, and other boxes."""
    from benchmarks.headline.changed_views import CHANGES, change_view

    truth = job.inputs["web"] / "truth" / "web.jsonl"
    change = CHANGES[job.settings["boxes"]]
    return {"rows": change_view(str(job.inputs["view"] / "view"), str(job.out / "view"), change, truth)}


def _train(job: Job) -> dict[str, Any]:
    """`model/` of a training; its settings name inputs by role where paths belong."""
    from student.settings.train import TrainSettings
    from student.training.train import train

    places = {"gold": "gold/view", "view": "view", "start": "model"}
    paths = {role: str(folder / places[role]) for role, folder in job.inputs.items()}
    values = dict(job.settings)
    values["streams"] = [{**stream, "url": paths[stream["url"]]} for stream in values["streams"]]
    values |= {"start": paths["start"], "out": str(job.out), "tensorboard": False}
    values["checkpoint_every"] = CHECKPOINT_STEPS
    report = train(TrainSettings.model_validate(values), job.progress)
    shutil.rmtree(job.out / "checkpoints", ignore_errors=True)
    return {name: report[name] for name in ("steps", "counts", "model_sha256")}


def _evaluate(job: Job) -> dict[str, Any]:
    """Return the last checkpoint's numbers on held-out scenes, as fractions. -1: there was nothing to measure."""
    from student.evaluate.run import evaluate

    coco = job.inputs["test"] / "test" / "coco.json"
    model = job.inputs["model"] / "model"
    images = coco.parent / "images"
    found = evaluate(
        model, coco, images, group_by="supercategory", phrases=job.settings["phrases"], bootstrap=0
    )
    return numbers_of(found)


def numbers_of(found: Mapping[str, Any]) -> dict[str, float]:
    """`{"tail": AP, "head": AP, "recall": Recall@1, ...}` of an evaluation; -1 for what it has not."""
    groups = found["groups"]
    numbers = {"AP": found["AP"], "recall": found.get("recall_at", {}).get("1", -1.0)}
    for name in ("head", "tail"):
        group = groups.get(name, {})
        numbers[name], numbers[f"{name}50"] = group.get("AP", -1.0), group.get("AP50", -1.0)
        numbers[f"recall_{name}"] = group.get("recall_at", {}).get("1", -1.0)
    return numbers


STAGES: dict[str, Callable[[Job], dict[str, Any]]] = {
    "gold": _gold,
    "web": _web,
    "recaptioned": _change_captions,
    "task": _task,
    "start": _start,
    "evidence": _evidence,
    "view": _view,
    "changed_view": _changed_view,
    "train": _train,
    "evaluate": _evaluate,
}
