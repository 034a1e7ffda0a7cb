"""The verb `export`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import JSON, OVERWRITE
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from schemas.errors import ConfigError

ENTRY = VerbFamily(order=70)


@ENTRY.verb("export", "groundswell export runs/view --format coco --to runs/labels.json")
def export(
    source: Annotated[str, typer.Argument(help="Output of `label`, or a view.")],
    to: Annotated[str, typer.Option(help="File to write.")],
    format: Annotated[str, typer.Option(help="coco")] = "coco",
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Write labels for other programs. What the format cannot represent is counted.

    A region to ignore is written as iscrowd: 1 and counted separately.
    """
    from pipelines.config.output_place import check_file
    from pipelines.exchange.exporters.coco import export_coco

    if format != "coco":
        raise ConfigError(f"--format {format!r}: expected coco")
    check_file("--to", to, overwrite=overwrite, reads=(source,))
    report = export_coco(source, to)
    print_result(as_json, report.data(), report.text())
