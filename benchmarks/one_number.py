"""The one number: what pseudo-labelled web images add for rare nouns, against a fair control, on the tiny world.

    python -m benchmarks.one_number --seed 0 --out /tmp/one

Labels in this process, with the real phrase finder and policy, but without the engine: `groundswell demo` is the
whole path. Finished parts are kept under `--out`, so a second call prints at once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.tiny_inference import evaluate, label_web
from pipelines.demo.recipe import Recipe
from pipelines.demo.start import write_start
from pipelines.demo.world.build import World, build_world
from student.settings import TrainSettings
from student.train import train


def main(arguments: list[str] | None = None) -> None:
    """Run what is not done yet and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another value in the recipe"
    )
    parser.add_argument("--arms", default="control,student")
    chosen = parser.parse_args(arguments)
    values = dict(item.split("=", 1) for item in chosen.set)
    recipe = Recipe.model_validate(
        {"seed": chosen.seed, **{name: json.loads(text) for name, text in values.items()}}
    )
    out = chosen.out
    world, _ = build_world(out / "world", recipe.world)
    start = write_start(out / "start", recipe.world)
    teacher = _timed(
        out, "teacher", lambda: train(recipe.teacher(start, world.gold_view, out / "teacher"), _say)
    )
    label_report = _timed(
        out, "labels", lambda: label_web(out / "teacher" / "model", world, recipe.policy, out / "view")
    )
    arms = {
        "control": recipe.control(out / "teacher" / "model", world.gold_view, out / "control"),
        "student": recipe.student(
            out / "teacher" / "model", world.gold_view, str(out / "view"), out / "student"
        ),
    }
    _train_together({name: arms[name] for name in chosen.arms.split(",")})
    rows = {name: _evaluated(out, name, world) for name in ["teacher", *chosen.arms.split(",")]}
    _print(recipe, teacher, label_report, rows)


def _train_together(runs: dict[str, TrainSettings]) -> None:
    """Each run in a process of its own, with one thread: the demo's two cores are two trainings."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_train_one, args=(settings,), name=name) for name, settings in runs.items()
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            sys.exit(f"the {process.name} ended with code {process.exitcode}")


def _train_one(settings: TrainSettings) -> None:
    began = time.process_time()
    train(settings, _say)
    Path(settings.out, "cpu.json").write_text(json.dumps(round(time.process_time() - began, 1)))


def _timed(out: Path, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    path = out / f"{name}.done.json"
    if not path.exists():
        began = time.process_time()
        result = run()
        path.write_text(json.dumps({**result, "cpu_s": round(time.process_time() - began, 1)}))
    return dict(json.loads(path.read_text()))


def _evaluated(out: Path, name: str, world: World) -> dict[str, Any]:
    return _timed(out, f"{name}.evaluation", lambda: evaluate(out / name / "model", world))


def _say(label: str, done: int, total: int) -> None:
    if done % 200 == 0:
        print(f"{label} {done}/{total}", file=sys.stderr, flush=True)


def _print(
    recipe: Recipe, teacher: dict[str, Any], labels: dict[str, Any], rows: dict[str, dict[str, Any]]
) -> None:
    print(f"seed {recipe.seed}; teacher {teacher['cpu_s']} CPU-s, labels {labels['cpu_s']} CPU-s")
    print("labels " + json.dumps(labels["quality"]))
    names = ("AP50 head", "AP50 tail", "AP head", "AP tail", "R@1", "R@1 head", "R@1 tail")
    print("| model | " + " | ".join(names) + " |")
    for model, row in rows.items():
        print(f"| {model} | " + " | ".join(f"{100 * row[name]:.1f}" for name in names) + " |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
