"""The verbs that import human data: gold import."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.label_options import (
    MAX_REFUSED,
    BoxesOption,
    DialectOption,
    LabelMapOption,
    MaxRefusedOption,
    MergeNamesOption,
    PartOption,
    UnitOption,
    exit_for_problems,
)
from pipelines.cli.options import JSON, OVERWRITE, refuse_unused
from pipelines.cli.verb import VerbFamily
from pipelines.exchange.importers import IMPORTERS
from pipelines.terminal.output import print_message, print_result
from schemas.errors import ConfigError

ENTRY = VerbFamily(order=80, group="gold", help="Import human boxes and captions of other formats as gold.")


@ENTRY.verb(
    "import",
    "groundswell gold import coco instances_val2017.json --images ./val2017 --to gold/coco",
    "groundswell gold import mdetr mixed.json --images 'images/{data_source}/{file_name}' --to gold/mixed",
)
def import_(
    format: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(IMPORTERS.names())}, or module:attribute of an importer. See docs/gold.md."
        ),
    ],
    path: Annotated[
        Path,
        typer.Argument(help="File to import. For flickr30k: the folder with Sentences/ and Annotations/."),
    ],
    to: Annotated[str, typer.Option(help="Folder of the gold.")],
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL, a pattern with {file_name}, {stem} or {data_source}, or shards (*.tar)."
        ),
    ] = None,
    without_images: Annotated[
        bool,
        typer.Option(
            "--without-images", help="Check captions and spans only. Such gold cannot be used for training."
        ),
    ] = False,
    key_map: Annotated[
        Path | None,
        typer.Option(help="CSV that maps shard keys to file names. Columns: shard, key, file_name."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="Import only these images: a text file with one name, stem or id per line."),
    ] = None,
    negatives: Annotated[
        Literal["all", "authors"],
        typer.Option(help="Absent categories per row: all, or a seeded draw by the GLIP authors' rules."),
    ] = "all",
    seed: Annotated[int, typer.Option(help="Seed of that draw.")] = 0,
    label_map: LabelMapOption = None,
    dialect: DialectOption = "auto",
    boxes: BoxesOption = None,
    unit: UnitOption = None,
    origin: Annotated[
        Literal["human", "teacher"],
        typer.Option(
            help="Who made the labels. Those of a tool (teacher) become a view with their scores, not gold: it can be "
            "audited, compared and trained on."
        ),
    ] = "human",
    merge_names: MergeNamesOption = False,
    part: PartOption = None,
    max_refused: MaxRefusedOption = MAX_REFUSED,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Import human data as gold. Every record is kept, repaired or refused with a reason, and counted.

    A class of which a record was refused is unknown in that image, not absent. Exit 3 when more than --max-refused of
    the boxes or images were refused, and when the label map is off by one.
    """
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder
    from pipelines.exchange.gold.images import open_images
    from pipelines.exchange.gold.options import ImportOptions
    from pipelines.exchange.import_gold import check_options, import_gold

    if (images is None) != without_images:
        raise ConfigError(
            "expected either --images, which says where the images are, or --without-images, which checks captions and "
            "spans only"
        )
    refuse_unused(
        {"--key-map": key_map is not None and images is None},
        "--without-images reads no shards; leave it out, or give --images",
    )
    refuse_unused(
        {"--seed": seed != 0 and negatives == "all"},
        "no absent categories are drawn; leave it out, or add --negatives authors",
    )
    chosen = ImportOptions(
        split=None if split is None else read_names(split),
        negatives=negatives,
        seed=seed,
        label_map=label_map,
        dialect=dialect,
        form=boxes,
        unit=unit,
        merge_names=merge_names,
        part=part,
        origin=origin,
        max_refused=max_refused,
    )
    check_options(format, chosen)
    own = FolderKind.GOLD if origin == "human" else FolderKind.VIEW
    check_folder("--to", to, (own, FolderKind.PARTS), overwrite=overwrite)
    options = replace(chosen, images=None if images is None else open_images(images, key_map))
    report = import_gold(format, path, to, options, progress=_make_row_counter(), overwrite=overwrite)
    if origin == "human" and (scored := report.facts.get("scores")):
        print_message(
            f"note: {scored} boxes have scores, as labels of a tool have, and are imported as human all the same; if a "
            "tool made them, import them with --origin teacher"
        )
    print_result(as_json, report.data(), report.text())
    exit_for_problems(report.list_problems())


def _make_row_counter(every_s: float = 5.0) -> Callable[[int], None]:
    """Return a function that prints the number of rows read, at most once in `every_s`. The total is not known."""
    last = time.monotonic()

    def report_rows(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            print_message(f"reading gold: {rows} rows")

    return report_rows


def read_names(path: Path) -> frozenset[str]:
    """Read the names of a split list, separated by white space. Raises NotFoundError, ConfigError (not UTF-8)."""
    from engine.reading.user_text import read_text

    return frozenset(read_text(path, "--split").split())
