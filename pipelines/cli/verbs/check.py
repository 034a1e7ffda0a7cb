"""The verb `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
)
from pipelines.cli.options import JSON
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result
from schemas.errors import UnfinishedError

ENTRY = VerbFamily(order=75)


@ENTRY.verb(
    "check",
    "groundswell check instances_val2017.json",
    "groundswell check lines.jsonl --format odvg --label-map labels.json --json",
)
def check(
    path: Annotated[Path, typer.Argument(help="File of labels. For flickr30k: the folder.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="Its format, as in `gold import`. Default: the one that it looks like."
        ),
    ] = None,
    boxes: BoxesOption = None,
    unit: UnitOption = None,
    label_map: LabelMapOption = None,
    dialect: DialectOption = "auto",
    merge_names: MergeNamesOption = False,
    part: PartOption = None,
    max_refused: MaxRefusedOption = MAX_REFUSED,
    as_json: bool = JSON,
) -> None:
    """Check a file of labels as `gold import` would, without images and without writing anything.

    Exit 3 when more than --max-refused of the boxes or images would be refused, and when ids or labels are off by one.
    """
    from pipelines.exchange.check_labels import check_labels
    from pipelines.exchange.gold.options import ImportOptions

    options = ImportOptions(
        label_map=label_map,
        dialect=dialect,
        form=boxes,
        unit=unit,
        merge_names=merge_names,
        part=part,
        max_refused=max_refused,
    )
    report = check_labels(path, options, format)
    print_result(as_json, report.data(), report.text())
    if problems := report.list_problems():
        print_message("\n".join(f"error: {problem}" for problem in problems))
        raise typer.Exit(UnfinishedError.exit_code)
