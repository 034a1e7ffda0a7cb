"""The verbs of the ML engineer: train, evaluate, model info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.shell import JSON, SET, Progress, example, give, say, verb


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("train", epilog=example("groundswell train train.yaml"))(train)
    app.command(
        "evaluate",
        epilog=example(
            "groundswell evaluate .demo/student --gold .demo/test.json --images .demo/test --json"
        ),
    )(evaluate)
    group = typer.Typer(help="Models: what a directory is.", no_args_is_help=True, rich_markup_mode=None)
    group.command("info", epilog=example("groundswell model info .demo/teacher"))(info)
    app.add_typer(group, name="model")


@verb
def train(
    config: Annotated[Path, typer.Argument(help="The training: a YAML file.")],
    overrides: list[str] = SET,
    as_json: bool = JSON,
) -> None:
    """Train a student on gold and views; run again after any end, it continues from its last checkpoint."""
    from pipelines.config import load_settings
    from student.settings import TrainSettings
    from student.train import train as run_train

    report = run_train(load_settings(config, TrainSettings, overrides), progress=Progress())
    give(as_json, report.data(), report.text())


@verb
def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A GLIP directory, a detector (.onnx) or COCO results (.json).")
    ],
    gold: Annotated[Path, typer.Option(help="COCO JSON with human boxes.")],
    images: Annotated[str | None, typer.Option(help="Folder of images, or shards (a glob of .tar).")] = None,
    key_map: Annotated[
        Path | None, typer.Option(help="CSV that ties shard keys to gold images and sizes.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """COCO AP with intervals over images; the same code for any model of `teacher/`."""
    from student.evaluate.run import evaluate as run_evaluate

    report = run_evaluate(model, gold, images, key_map=key_map, progress=Progress())
    give(as_json, report.data(), report.text())


@verb
def info(model: Annotated[Path, typer.Argument(help="A model directory.")], as_json: bool = JSON) -> None:
    """What a model directory is: architecture, sizes, tokenizer, digest."""
    from pipelines.cli.model_info import describe_model

    say(f"reading {model}")
    report = describe_model(model)
    give(as_json, report.data(), report.text())
