"""The one number: what pseudo-labeled web images add for rare nouns, against fair controls, on the tiny world.

    python -m benchmarks.one_number --seed 0 --out /tmp/one --arms control,student,plain

The demo's own parts without audit and report, labeled in this process instead of on a Ray cluster. Each part knows
by its digest what it has done, so a second call, or one with another arm or `--set`, repeats nothing that stands.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from pathlib import Path

from pipelines.compile.run import compile_view
from pipelines.demo.configs import make_job, make_trainings
from pipelines.demo.initial_model import write_start
from pipelines.demo.layout import DemoLayout
from pipelines.demo.oracle import find_named_boxes, is_right, read_truth_rows
from pipelines.demo.recipe import Recipe
from pipelines.demo.world.build import build_world
from pipelines.demo.world.lexicon import TAIL_NOUNS
from pipelines.label.run import label
from student.evaluate.run import evaluate
from student.settings.train import TrainSettings
from student.training.train import train


def main(arguments: list[str] | None = None) -> None:
    """Run what is not done yet and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", default="control,student", help="of control, student, plain")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=JSON", help="another value in the recipe"
    )
    parser.add_argument(
        "--tag", default="", help="suffix of the arms' folders, for another recipe on the same teacher"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="trainings at a time, a process each; 1: all in this process"
    )
    chosen = parser.parse_args(arguments)
    changed = {name: json.loads(text) for name, text in (item.split("=", 1) for item in chosen.set)}
    recipe = Recipe.model_validate({"seed": chosen.seed, **changed})
    places = DemoLayout(chosen.out)
    arms = {name: _arm(places, recipe, name, chosen.tag) for name in chosen.arms.split(",")}
    _teach(places, recipe, chosen.workers)
    labels = _label(places, recipe, chosen.tag)
    _train_together(list(arms.values()), chosen.workers)
    print(f"labels of seed {recipe.seed}: {json.dumps(labels)}")
    print(
        "| model | AP head | AP tail | AP50 head | AP50 tail | R@1 | CPU-s |\n|---|---|---|---|---|---|---|"
    )
    for out in [places.training("teacher"), *(Path(settings.out) for settings in arms.values())]:
        print(f"| {out.name} | " + " | ".join(_numbers(places, out)) + " |", flush=True)


def _arm(places: DemoLayout, recipe: Recipe, name: str, tag: str) -> TrainSettings:
    teacher, gold, out = places.model("teacher"), places.world.gold_view, places.training(name + tag)
    if name == "student":
        return recipe.student(teacher, gold, places.view + tag, out)
    return recipe.control(teacher, gold, out) if name == "control" else recipe.plain(teacher, gold, out)


def _teach(places: DemoLayout, recipe: Recipe, workers: int) -> None:
    build_world(places.world.folder, recipe.world)
    if not (places.training("start") / "model.safetensors").exists():
        write_start(places.training("start"), recipe.world)
    trainings = make_trainings(places, recipe)
    for name in ("base", "teacher"):
        _train_together([trainings[name]], workers)


def _label(places: DemoLayout, recipe: Recipe, tag: str) -> dict[str, float]:
    job = make_job(places)
    label(job.model_copy(update={"run": job.run.model_copy(update={"executor": "local"})}), progress=_say)
    compile_view(places.evidence, recipe.policy, places.view + tag)
    return _quality(places, tag)


def _train_together(runs: list[TrainSettings], workers: int) -> None:
    """So many at a time, each in a process of its own with one thread; a single worker is this process."""
    if workers == 1:
        for settings in runs:
            _train_one(settings)
        return
    context = multiprocessing.get_context("spawn")
    for first in range(0, len(runs), workers):
        processes = [
            context.Process(target=_train_one, args=(settings,)) for settings in runs[first : first + workers]
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode:
                sys.exit(f"a training ended with code {process.exitcode}")


def _train_one(settings: TrainSettings) -> None:
    began = time.process_time()
    train(settings, _say)
    record = Path(settings.out, "cpu.json")
    if not record.exists():
        record.write_text(json.dumps(round(time.process_time() - began, 1)))


def _quality(places: DemoLayout, tag: str) -> dict[str, float]:
    """Of head and tail: the share of kept boxes that lie on a thing the phrase means, and of phrases so served."""
    from engine.views import open_view

    truth = {(row["shard"], row["key"]): row for row in read_truth_rows(places.world.web_truth)}
    counts = {(what, group): 0 for what in ("kept", "right", "meant") for group in ("head", "tail")}
    for row in open_view(places.view + tag).rows():
        true = truth[Path(row["shard"]).name, row["key"]]
        for number, phrase in enumerate(row["phrases"]):
            group = "tail" if phrase["root"] in TAIL_NOUNS else "head"
            own = find_named_boxes(phrase, true)
            counts["meant", group] += bool(len(own))
            taught = [region for region in row["regions"] if region["fate"] != "ignore"]
            for region in (region for region in taught if region["phrase"] == number):
                counts["kept", group] += 1
                counts["right", group] += is_right(region, own)
    shares = {"precision": "kept", "recall": "meant"}
    return {
        f"{name} {group}": round(counts["right", group] / max(1, counts[of, group]), 3)
        for name, of in shares.items()
        for group in ("head", "tail")
    }


def _numbers(places: DemoLayout, out: Path) -> list[str]:
    coco = places.world.test_coco
    found = evaluate(
        out / "model", coco, coco.parent / "images", group_by="supercategory", bootstrap=0
    ).data()
    groups = found["groups"]
    shares = [groups[group][name] for name in ("AP", "AP50") for group in ("head", "tail")]
    shares.append(found["recall_at"]["1"])
    return [*(f"{100 * share:.1f}" for share in shares), (out / "cpu.json").read_text()]


def _say(label: str, done: int, total: int) -> None:
    if done % 200 == 0:
        print(f"{label} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
