"""The verbs that bring human data in: gold import."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.shell import JSON, OVERWRITE, example, give, say, verb
from pipelines.exchange.importers import IMPORTERS
from schemas.errors import ConfigError, UnfinishedError


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    group = typer.Typer(
        help="Human boxes and captions of other formats as gold.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_only_a_group)
    group.command(
        "import",
        epilog=example(
            "groundswell gold import coco instances_val2017.json --images ./val2017 --to gold/coco",
            "groundswell gold import mdetr mixed.json --images 'images/{data_source}/{file_name}' --to gold/mixed",
        ),
    )(import_)
    app.add_typer(group, name="gold")


def _only_a_group() -> None:
    """Without a callback typer would make the only verb of a group the group itself."""


@verb
def import_(
    format: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(IMPORTERS.names())}, or module:attribute of an importer: docs/gold.md."
        ),
    ],
    path: Annotated[
        Path, typer.Argument(help="The file; for flickr30k the folder with Sentences/ and Annotations/.")
    ],
    to: Annotated[str, typer.Option(help="Folder of the gold.")],
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL, a pattern with {file_name}, {stem}, {data_source}, or shards (*.tar)."
        ),
    ] = None,
    without_images: Annotated[
        bool, typer.Option("--without-images", help="Check captions and spans alone; not to be trained on.")
    ] = False,
    key_map: Annotated[
        Path | None, typer.Option(help="CSV that ties shard keys to file names: shard, key, file_name.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Only these images: a text file, a name, stem or id a line.")
    ] = None,
    negatives: Annotated[
        Literal["all", "authors"],
        typer.Option(help="Absent categories in a row: all, or a seeded draw by the GLIP authors' rules."),
    ] = "all",
    seed: Annotated[int, typer.Option(help="Seed of that draw.")] = 0,
    label_map: Annotated[
        Path | None,
        typer.Option(help="odvg: names of the class indices; says which classes were looked for."),
    ] = None,
    dialect: Annotated[
        Literal["auto", "open_gd", "mmdet", "tao"], typer.Option(help="odvg: whose lines these are.")
    ] = "auto",
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Human data as gold; every record is kept, repaired or refused with a reason, and counted.

    A class of which a record was refused is unknown in that image, never absent. Exit code 3: every box was refused, or
    the label map is off by one.
    """
    from pipelines.config.output_place import Kind, check_folder
    from pipelines.exchange.gold.images import open_images
    from pipelines.exchange.gold.options import ImportOptions
    from pipelines.exchange.import_gold import check_options, import_gold

    if (images is None) != without_images:
        raise ConfigError(
            "--images says where the images are; --without-images checks captions and spans alone"
        )
    check_options(format, ImportOptions(negatives=negatives, label_map=label_map, dialect=dialect))
    check_folder("--to", to, (Kind.GOLD, Kind.PARTS), overwrite=overwrite)
    options = ImportOptions(
        images=None if images is None else open_images(images, key_map),
        split=None if split is None else names_in(split),
        negatives=negatives,
        seed=seed,
        label_map=label_map,
        dialect=dialect,
    )
    report = import_gold(format, path, to, options, progress=_teller(), overwrite=overwrite)
    give(as_json, report.data(), report.text())
    if report.problems:
        say("\n".join(f"error: {problem}" for problem in report.problems))
        raise typer.Exit(UnfinishedError.exit_code)


def _teller(every_s: float = 5.0) -> Callable[[int], None]:
    """Says on stderr how many rows were read, now and then: how many will come, nobody knows yet."""
    last = time.monotonic()

    def tell(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            say(f"reading gold: {rows} rows")

    return tell


def names_in(path: Path) -> frozenset[str]:
    """The names of a split list, parted by blanks or lines. Raises NotFoundError, ConfigError for no UTF-8."""
    from engine.reading.user_text import read_text

    return frozenset(read_text(path, "--split").split())
