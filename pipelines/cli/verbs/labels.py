"""The verbs that look at labels or write them for other programs: diff, stats, inspect, export; check, for theirs."""

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
    exit_for_problems,
)
from pipelines.cli.options import JSON, OVERWRITE, refuse_unused
from pipelines.cli.verb import VerbFamily
from pipelines.exchange.exporters import EXPORTERS
from pipelines.terminal.output import print_result
from pipelines.terminal.progress import ProgressPrinter

EvidenceOrView = Annotated[str, typer.Argument(help="Output of `label`, or a view.")]
ENTRY = VerbFamily(order=60)
_SAMPLES = 12


@ENTRY.verb("diff", "groundswell diff runs/view runs/stricter")
def diff(
    first: Annotated[str, typer.Argument(help="View.")],
    second: Annotated[str, typer.Argument(help="Another view of the same evidence.")],
    as_json: bool = JSON,
) -> None:
    """Compare two views of the same evidence.

    The report compares policies, samples, and the fates of regions and phrases.
    """
    from pipelines.compile.diff import diff_views

    report = diff_views(first, second)
    print_result(as_json, report.data(), report.text())


@ENTRY.verb("stats", "groundswell stats runs/view")
def stats(source: EvidenceOrView, as_json: bool = JSON) -> None:
    """Print counts and distributions of evidence or a view. In a view, regions to ignore are counted separately."""
    from pipelines.labels.stats import count_labels

    report = count_labels(source, progress=ProgressPrinter())
    print_result(as_json, report.data(), report.text())


@ENTRY.verb("inspect", "groundswell inspect runs/view --to runs/pictures --n 12")
def inspect(
    source: EvidenceOrView,
    to: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    n: Annotated[int, typer.Option(min=1, help="Number of samples, drawn by the seed.")] = _SAMPLES,
    key: Annotated[
        list[str],
        typer.Option(metavar="KEY", help="Draw only this sample: KEY, SHARD/KEY or UNIT:INDEX. Repeatable."),
    ] = [],  # noqa: B006
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Draw only regions with at least this raw score.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Draw boxes, phrases and scores on images. The pictures go to a new or empty folder.

    Kept boxes have solid lines. Boxes to ignore and class_only boxes have dashed lines, which a legend explains.
    """
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder
    from pipelines.labels.inspect import draw_samples

    refuse_unused(
        {"--n": bool(key) and n != _SAMPLES, "--seed": bool(key) and seed != 0},
        "--key names the samples, so none are drawn; leave it out, or leave --key out",
    )
    check_folder("--to", str(to), FolderKind.PICTURES, repeats=False, overwrite=overwrite)
    report = draw_samples(
        source,
        to,
        n=n,
        keys=key,
        seed=seed,
        min_score=min_score,
        progress=ProgressPrinter(),
        overwrite=overwrite,
    )
    print_result(as_json, report.data(), report.text())


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
    exit_for_problems(report.list_problems())
