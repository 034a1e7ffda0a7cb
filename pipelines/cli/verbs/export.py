"""The verb `export`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import JSON, OVERWRITE
from pipelines.cli.verb import VerbFamily
from pipelines.exchange.exporters import EXPORTERS
from pipelines.terminal.output import print_result

ENTRY = VerbFamily(order=70)


@ENTRY.verb("export", "groundswell export runs/view --format coco --to runs/labels.json")
def export(
    source: Annotated[str, typer.Argument(help="Output of `label`, or a view.")],
    to: Annotated[str, typer.Option(help="File to write.")],
    format: Annotated[
        str, typer.Option(help=f"One of {', '.join(EXPORTERS.names())}, or module:attribute of an exporter.")
    ] = "coco",
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Write labels for other programs. What the format cannot represent is counted.

    In the format coco, a region to ignore is written as iscrowd: 1 and counted separately.
    """
    from pipelines.config.output_place import check_file
    from pipelines.exchange.export_labels import export_labels

    EXPORTERS.load(format)
    check_file("--to", to, overwrite=overwrite, reads=(source,))
    report = export_labels(source, format, to)
    print_result(as_json, report.data(), report.text())
