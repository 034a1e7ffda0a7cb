"""The verbs for teachers: teacher try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON, OVERWRITE
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result

ENTRY = VerbFamily(order=125, group="teacher", help="Try a teacher on your own images.")


@ENTRY.verb(
    "try",
    'groundswell teacher try .demo/teacher/model photo.jpg "a red dog on a sofa"',
    'groundswell teacher try yolox.onnx photo.jpg --phrases "dog, red car" --to boxes.png',
)
def try_model(
    model: Annotated[str, typer.Argument(help="Model of a teacher: a directory, a .onnx file or a hub id.")],
    image: Annotated[Path, typer.Argument(help="Image file.")],
    caption: Annotated[str | None, typer.Argument(help="Caption, whose phrases are asked.")] = None,
    phrases: Annotated[
        str, typer.Option(help="Ask these phrases, separated by commas, instead of those of a caption.")
    ] = "",
    to: Annotated[
        Path | None,
        typer.Option(help="PNG to write. Default: named after the image, in the current folder."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Kind of the teacher, or module:Class of your own. Default: the model's files decide."
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Leave out boxes with a lower raw score. Default: the floor of the kind."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs: auto, cpu or cuda.")] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the teacher, as in `teacher:` of a job. Repeatable.",
        ),
    ] = [],  # noqa: B006
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Ask a teacher about one image. Print the boxes of each phrase, and draw them in a picture.

    Boxes are pixels of the upright image. A phrase without a box is listed, too.
    """
    from pipelines.ground_image.trial import try_teacher

    report = try_teacher(
        model,
        image,
        caption,
        to,
        phrases=[part for part in phrases.split(",") if part.strip()],
        kind=kind,
        min_score=min_score,
        device=device,
        overrides=settings,
        overwrite=overwrite,
    )
    print_result(as_json, report.data(), report.text())
