"""The verb `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.label_options import (
    MAX_REFUSED,
    BoxesOption,
    LabelMapOption,
    MaxRefusedOption,
    PartOption,
    UnitOption,
)
from pipelines.cli.options import JSON, OVERWRITE, refuse_unused
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result
from pipelines.terminal.progress import ProgressPrinter
from schemas.errors import ConfigError, UnfinishedError

if TYPE_CHECKING:
    from teacher.registry import TeacherSettings

ENTRY = VerbFamily(order=110)


@ENTRY.verb(
    "evaluate",
    "groundswell evaluate .demo/student/model --gold .demo/world/test/coco.json "
    "--images .demo/world/test/images --json",
)
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Model of any teacher: a directory, a .onnx file or a hub id; or detections as COCO results (.json)."
        ),
    ],
    gold: Annotated[
        Path,
        typer.Option(help="COCO JSON with human boxes, a folder of imported gold, or see --gold-format."),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL of images, a pattern with {file_name} or {stem}, or shards (a glob)."
        ),
    ] = None,
    group_by: Annotated[
        str,
        typer.Option(
            help="Category field that names the group of a category, e.g. frequency (LVIS) or supercategory."
        ),
    ] = "frequency",
    results_to: Annotated[
        Path | None, typer.Option(help="File to which the detections are written, as COCO results.")
    ] = None,
    key_map: Annotated[
        Path | None, typer.Option(help="CSV with the columns shard, key and file_name (or coco_image_id).")
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
            help="Names of a detector's classes in the order of its outputs: one per line, or a JSON or YAML list. "
            "Default: the model's own (id2label of a directory, metadata of an .onnx), then a file MODEL.names next to "
            "an .onnx, then COCO's 80 names for an .onnx of 80 classes."
        ),
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Categories per prompt (LVIS: 40). Default: as many as fit.")
    ] = None,
    max_detections: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Boxes of an image that a model is asked for, and boxes of each image and category (with --lvis of "
            "each image) that count. Default: 100, with --lvis 300, with --fixed-ap no limit.",
        ),
    ] = None,
    per_chunk: Annotated[
        bool,
        typer.Option(
            "--per-chunk",
            help="Ask for --max-detections of each prompt chunk instead of the image, as the GLIP authors do. What "
            "counts is then as the protocol says.",
        ),
    ] = False,
    pad: Annotated[
        Literal["bucket", "authors"],
        typer.Option(help="How batches are padded: in buckets, or as the GLIP authors do."),
    ] = "bucket",
    lvis: Annotated[
        bool, typer.Option("--lvis", help="Use the rules of LVIS: federated categories, 300 boxes per image.")
    ] = False,
    fixed_ap: Annotated[
        bool,
        typer.Option("--fixed-ap", help="Compute LVIS fixed AP: the 10,000 best boxes of each category."),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Kind of the teacher, or module:Class of your own. Default: the model's files decide."
        ),
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the teacher, as in `teacher:` of a job. Repeatable.",
        ),
    ] = [],  # noqa: B006
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of each batch. Default: as many as suit the teacher and the device, one on a CPU; 16 with "
            "`--pad authors`, whose numbers depend on it.",
        ),
    ] = None,
    gold_format: Annotated[
        str | None,
        typer.Option(
            help="Format of --gold if it is another than COCO, as in `gold import`, e.g. yolo. It is read as an import "
            "would, with --images."
        ),
    ] = None,
    label_map: LabelMapOption = None,
    part: PartOption = None,
    boxes: BoxesOption = None,
    unit: UnitOption = None,
    max_refused: MaxRefusedOption = MAX_REFUSED,
    merged: Annotated[
        bool, typer.Option("--merged", help="Also compute phrase recall by the merged-box protocol.")
    ] = False,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Compute COCO or LVIS AP with confidence intervals. Every kind of model is evaluated by the same code.

    Exit 3 when most detections match no image or category of the gold, and when more than --max-refused of the gold's
    boxes or images were refused.
    """
    from pipelines.config.output_place import check_file

    if kind is None and model.endswith(".json"):
        _refuse_for_results(
            model,
            {
                "--set": settings,
                "--batch-size": batch_size,
                "--merged": merged,
            },
        )
    if key_map is not None and images is None:
        raise ConfigError(
            f"--key-map {key_map}: it is for the shards of --images; add --images, or leave it out"
        )
    refuse_unused(
        {"--overwrite": overwrite and results_to is None},
        "no file is written; add --results-to FILE, or leave it out",
    )
    if results_to is not None:
        reads = (model, gold, images, key_map, words, names)
        check_file("--results-to", str(results_to), overwrite=overwrite, reads=reads)

    from pipelines.exchange.gold.options import ImportOptions
    from pipelines.exchange.truth import open_truth
    from student.evaluate.class_prompts import PromptOptions, read_words
    from student.evaluate.run import evaluate as run_evaluate

    options = ImportOptions(label_map=label_map, part=part, form=boxes, unit=unit, max_refused=max_refused)
    with open_truth(gold, gold_format, options, images, key_map) as truth:
        report = run_evaluate(
            _choose_model(model, kind, settings),
            truth.gold,
            truth.images,
            key_map=truth.key_map,
            group_by=group_by,
            results_to=results_to,
            names=names,
            batch_size=batch_size or "auto",
            prompt_options=PromptOptions(
                read_words(words) if words else {}, chunk, per_chunk, max_detections, pad
            ),
            merged=merged,
            protocol="fixed_ap" if fixed_ap else "lvis" if lvis else "coco",
            convention=truth.convention,
            max_refused=max_refused,
            progress=ProgressPrinter(),
        )
        for problem in truth.too_many_refused:
            report.setdefault("too_many_refused", []).append(problem)
    for note in report.get("notes", ()):
        print_message(f"note: {note}")
    print_result(as_json, report.data(), report.text())
    if report.mostly_unmatched:
        print_message("error: most detections were left out, so the numbers do not describe these results")
    for problem in report.too_many_refused:
        print_message(f"error: the gold: {problem}")
    if report.mostly_unmatched or report.too_many_refused:
        raise typer.Exit(UnfinishedError.exit_code)


def _refuse_for_results(model: str, options: Mapping[str, object]) -> None:
    """Raise ConfigError for an option that a file of detections leaves without effect."""
    for option, value in options.items():
        if value:
            given = "" if value is True else f" {value[0] if isinstance(value, list) else value}"
            raise ConfigError(
                f"{option}{given}: {model} is a file of detections, for which no teacher runs; "
                f"leave {option} out, or name the kind of the teacher by --kind"
            )


def _choose_model(model: str, kind: str | None, overrides: list[str]) -> str | TeacherSettings:
    """Return the model, or the settings of its teacher if a kind or a setting was given."""
    if kind is None and not overrides:
        return model
    from pipelines.ground_image.teacher import choose_settings

    return choose_settings(model, kind, overrides=overrides)[0]
