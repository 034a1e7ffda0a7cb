"""The verbs for teachers: teacher try, teacher bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JSON, OVERWRITE
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from schemas.errors import NotFoundError

ModelArgument = Annotated[
    str, typer.Argument(help="Model of a teacher: a directory, a .onnx file or a hub id.")
]
KindOption = Annotated[
    str | None,
    typer.Option(help="Kind of the teacher, or module:Class of your own. Default: the model's files decide."),
]
SettingsOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the teacher, as in `teacher:` of a job. Repeatable.",
    ),
]

ENTRY = VerbFamily(order=125, group="teacher", help="Try a teacher on your own images, or measure its speed.")


@ENTRY.verb(
    "try",
    'groundswell teacher try .demo/teacher/model photo.jpg "a red dog on a sofa"',
    'groundswell teacher try yolox.onnx photo.jpg --phrases "dog, red car" --to boxes.png',
)
def try_model(
    model: ModelArgument,
    image: Annotated[Path, typer.Argument(help="Image file.")],
    caption: Annotated[str | None, typer.Argument(help="Caption, whose phrases are asked.")] = None,
    phrases: Annotated[
        str, typer.Option(help="Ask these phrases, separated by commas, instead of those of a caption.")
    ] = "",
    to: Annotated[
        Path | None,
        typer.Option(help="PNG to write. Default: named after the image, in the current folder."),
    ] = None,
    kind: KindOption = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Leave out boxes with a lower raw score. Default: the floor of the kind."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs: auto, cpu or cuda.")] = None,
    settings: SettingsOption = [],  # noqa: B006
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


@ENTRY.verb("bench", "groundswell teacher bench .demo/teacher/model .demo/world/web/00000.tar --images 20")
def bench(
    model: ModelArgument,
    shard: Annotated[Path, typer.Argument(help="Local shard: a .tar or .parquet file.")],
    images: Annotated[int, typer.Option(min=1, help="Most samples to read.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of each batch, as run.batch_size.")] = 1,
    kind: KindOption = None,
    image: Annotated[
        str, typer.Option(help="Suffix (tar) or column (Parquet) of the image; several with commas.")
    ] = "jpg,jpeg,png,webp",
    caption: Annotated[str, typer.Option(help="Suffix, json:FIELD or column of the caption.")] = "txt",
    settings: SettingsOption = [],  # noqa: B006
    as_json: bool = JSON,
) -> None:
    """Measure a teacher on a shard: images per second, memory, waste, and the time of each part.

    The figures are those of one process. Samples without a phrase are left out.
    """
    from engine.settings import InputSettings
    from pipelines.ground_image.bench import bench_teacher
    from pipelines.ground_image.teacher import open_teacher

    if not shard.is_file():
        raise NotFoundError(f"shard {shard} does not exist; give the path of a .tar or .parquet file")
    reading = InputSettings(
        urls=(str(shard),),
        format="parquet" if shard.suffix == ".parquet" else "webdataset",
        image=tuple(part.strip() for part in image.split(",") if part.strip()),
        caption=caption,
    ).reading()
    teacher = open_teacher(model, kind=kind, overrides=settings, batch_size=batch_size)
    report = bench_teacher(model, teacher, shard, images, reading)
    print_result(as_json, report.data(), report.text())
