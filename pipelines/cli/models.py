"""The verbs of the ML engineer: train, evaluate, model info, model convert-glip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipelines.cli.shell import JSON, OVERWRITE, SET, Progress, example, give, say, table, verb
from schemas.errors import ConfigError, UnfinishedError


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("train", epilog=example("groundswell train train.yaml"))(train)
    app.command(
        "evaluate",
        epilog=example(
            "groundswell evaluate .demo/student/model --gold .demo/world/test/coco.json "
            "--images .demo/world/test/images --json"
        ),
    )(evaluate)
    group = typer.Typer(
        help="Models: what a directory is, and the authors' GLIP as one.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("info", epilog=example("groundswell model info .demo/teacher/model"))(info)
    group.command(
        "convert-glip",
        epilog=example("groundswell model convert-glip glip_tiny_model_o365_goldg_cc_sbu.pth --to ./glip-t"),
    )(convert_glip)
    app.add_typer(group, name="model")


@verb
def train(
    config: Annotated[Path, typer.Argument(help="The training: a YAML file.")],
    overrides: list[str] = SET,
    audit: Annotated[
        list[Path] | None, typer.Option(help="What `audit report --json` said of a view, for the model card.")
    ] = None,
    evaluation: Annotated[
        list[Path] | None, typer.Option(help="What `evaluate --json` said of the model, for its card.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Train a student on gold and views; run again after any end, it continues from its last checkpoint.

    Ctrl-C or SIGTERM once writes a checkpoint after the step at hand and ends with 130; twice stops at once.
    """
    from engine.reading.user_text import read_json
    from pipelines.config import load_settings
    from pipelines.config.output_place import Kind, check_folder
    from pipelines.label.interrupt import stop_training_when_asked
    from student.settings.train import TrainSettings

    settings = load_settings(config, TrainSettings, overrides)
    check_folder("out", settings.out, Kind.TRAINING, reads=(str(config),))

    from student.training.model_card import CardReports
    from student.training.train import train as run_train

    with stop_training_when_asked() as stop:
        card_reports = CardReports(
            [read_json(path, "--audit") for path in audit or ()], _by_stem(evaluation or ())
        )
        report = run_train(settings, progress=Progress(), stop=stop, card_reports=card_reports)
    give(as_json, report, train_text(report))


@verb
def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A GLIP directory, a detector (.onnx) or COCO results (.json).")
    ],
    gold: Annotated[Path, typer.Option(help="COCO JSON with human boxes, or a folder of imported gold.")],
    images: Annotated[str | None, typer.Option(help="Folder of images, or shards (a glob of .tar).")] = None,
    group_by: Annotated[
        str, typer.Option(help="Category field that names the group, e.g. frequency (LVIS) or supercategory.")
    ] = "frequency",
    results_to: Annotated[Path | None, typer.Option(help="File for the detections, as COCO results.")] = None,
    key_map: Annotated[
        Path | None, typer.Option(help="CSV that ties shard keys to gold images and sizes.")
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(
            help='JSON with words for categories: {"stop sign": {"name": "stop", "suffix": " sign"}}.'
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="Names of a detector's classes in the order of its outputs: lines, or a JSON or YAML list. Without "
            "it: the model's metadata, a file MODEL.names beside it, or COCO's 80 for a model of 80 classes."
        ),
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Categories in a prompt (LVIS: 40); without it, as many as fit.")
    ] = None,
    max_detections: Annotated[
        int | None,
        typer.Option(min=1, help="Boxes per image; else 100, with --lvis 300, with --fixed-ap no limit."),
    ] = None,
    per_chunk: Annotated[
        bool, typer.Option("--per-chunk", help="Boxes per chunk instead, as the GLIP authors do.")
    ] = False,
    pad: Annotated[
        Literal["bucket", "authors"], typer.Option(help="bucket, or authors to pad batches as they do.")
    ] = "bucket",
    lvis: Annotated[
        bool, typer.Option("--lvis", help="LVIS's rules: federated categories, 300 boxes an image.")
    ] = False,
    fixed_ap: Annotated[
        bool, typer.Option("--fixed-ap", help="LVIS fixed AP: the 10,000 best boxes of each category.")
    ] = False,
    merged: Annotated[
        bool, typer.Option("--merged", help="Also phrase recall by the merged-box protocol.")
    ] = False,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """COCO or LVIS AP with intervals over images; the same code for any model of `teacher/`."""
    from pipelines.config.output_place import check_file

    if results_to is not None:
        reads = (model, gold, images, key_map, words, names)
        check_file("--results-to", str(results_to), overwrite=overwrite, reads=reads)

    from student.evaluate.class_prompts import PromptOptions, read_words
    from student.evaluate.run import evaluate as run_evaluate

    report = run_evaluate(
        model,
        gold,
        images,
        key_map=key_map,
        group_by=group_by,
        results_to=results_to,
        names=names,
        prompt_options=PromptOptions(
            read_words(words) if words else {}, chunk, per_chunk, max_detections, pad
        ),
        merged=merged,
        protocol="fixed_ap" if fixed_ap else "lvis" if lvis else "coco",
        progress=Progress(),
    )
    for note in report.get("notes", ()):
        say(f"note: {note}")
    give(as_json, report.data(), report.text())
    if report.mostly_unmatched:
        say("most detections were left out: the numbers do not measure these results")
        raise typer.Exit(UnfinishedError.exit_code)


@verb
def info(model: Annotated[Path, typer.Argument(help="A model directory.")], as_json: bool = JSON) -> None:
    """What a model directory is: architecture, sizes, tokenizer, digest."""
    from pipelines.cli.model_info import describe_model

    facts = describe_model(model)
    rows = [[name, value] for name, value in facts.items() if name not in ("config", "parts")]
    rows += [[f"  {name}", count] for name, count in facts.get("parts", {}).items()]
    give(as_json, facts, table(rows, ["what", "value"]))


@verb
def convert_glip(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of the GLIP authors (.pth).")],
    to: Annotated[Path, typer.Option(help="Model directory to write; must not exist.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Directory of bert-base-uncased (vocab.txt is enough); without it, from the hub."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON with fields of GlipConfig, for sizes other than A, T and L.")
    ] = None,
    ema: Annotated[bool, typer.Option("--ema", help="Take the average of the weights (model_ema).")] = False,
    prompt: Annotated[
        str | None, typer.Option(help="The one prompt that a prompt-tuned checkpoint was tuned for.")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Official GLIP weights to a model directory that works offline; a pickle in the file runs nothing."""
    from pipelines.config.output_place import check_new_folder

    check_new_folder("--to", str(to))

    from teacher.models.glip.checkpoint.convert import convert

    facts = convert(checkpoint, to, tokenizer, config, ema, prompt)
    rows = [[name, value] for name, value in facts.items() if name != "keys"]
    rows += [[f"  keys {name}", count] for name, count in facts["keys"].items()]
    give(as_json, facts, table(rows, ["what", "value"]))


def _by_stem(paths: Sequence[Path]) -> dict[str, Any]:
    """What each file holds, by the name that the card gives it. Raises ConfigError for two of one name."""
    from engine.reading.user_text import read_json

    if twice := [path.stem for path in paths if [other.stem for other in paths].count(path.stem) > 1]:
        raise ConfigError(
            f"--evaluation: two files are called {twice[0]}, as the card would call both; rename one"
        )
    return {path.stem: read_json(path, "--evaluation") for path in paths}


def train_text(report: dict[str, Any]) -> str:
    """A training's report as text: steps, data, digests."""
    streams = [
        [item["kind"], f"{item['share']:.2f}", item["images"], item["boxes"], item["url"]]
        for item in report["streams"]
    ]
    lines = [
        f"{report['steps']} steps, {report['images_seen']} images seen, {report['parameters']:,} parameters, "
        f"of which {report['tuning']['learned']:,} learned (tuning {report['tuning']['mode']})",
        table(streams, ["data", "share", "images", "boxes", "where"]),
        *report["parameter_groups"],
        f"weights sha256:{report['model_sha256']}",
        f"run     {report['run_digest']}",
    ]
    return "\n".join(lines)
