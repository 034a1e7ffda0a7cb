"""The verbs that look at evidence and views: compile, diff, stats, inspect, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.shell import JSON, OVERWRITE, SET, Progress, example, give, say, verb
from pipelines.exchange.exporters import EXPORTERS
from schemas.errors import ConfigError, ConflictError

EvidenceOrView = Annotated[str, typer.Argument(help="The output of `label`, or a view.")]


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("compile", epilog=example("groundswell compile runs/evidence policy.yaml --to runs/view"))(
        compile_evidence
    )
    app.command("diff", epilog=example("groundswell diff runs/view runs/stricter"))(diff)
    app.command("stats", epilog=example("groundswell stats runs/view"))(stats)
    app.command("inspect", epilog=example("groundswell inspect runs/view --to runs/pictures --n 12"))(inspect)
    app.command("export", epilog=example("groundswell export runs/view --format coco --to runs/labels.json"))(
        export
    )


@verb
def compile_evidence(
    evidence: Annotated[str, typer.Argument(help="The output of `label`.")],
    policy: Annotated[Path, typer.Argument(help="The policy: a YAML file.")],
    to: Annotated[str, typer.Option(help="Folder of the view.")],
    overrides: list[str] = SET,
    materialize: Annotated[
        str | None, typer.Option(help="webdataset: also write tars of image + json under TO/webdataset.")
    ] = None,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Make a view of evidence under a policy, on the CPU; the same inputs give the same digest.

    Of a phrase with a kept box, candidates that a rule removed stay as regions to ignore, unless the policy sets
    ignore_score. Where a view is at TO already, a policy that omits ignore_score takes that view's.

    Exit 3 when the evidence holds no labelled sample, 5 when TO holds another view (without --overwrite) or other
    files.
    """
    from pipelines.compile.policy import Policy
    from pipelines.compile.run import compile_view, inherit_stored_fields
    from pipelines.config import load_settings

    if materialize not in (None, "webdataset"):
        raise ConfigError(f"--materialize {materialize!r}: expected webdataset")
    rules = load_settings(policy, Policy, overrides)
    _check_view(to, materialize is not None, overwrite)
    if not overwrite:
        rules = inherit_stored_fields(rules, to, say)
    report = compile_view(evidence, rules, to, progress=Progress(), overwrite=overwrite)
    data, text = report.data(), report.text()
    if materialize:
        from pipelines.compile.materialize import materialize_webdataset

        tars = materialize_webdataset(to, _tars_of(to), progress=Progress(), overwrite=overwrite)
        data, text = {**data, "materialized": tars.data()}, f"{text}\n\n{tars.text()}"
    give(as_json, data, text)


def _check_view(to: str, materialize: bool, overwrite: bool) -> None:
    """Check the folder of a view and, in it, that of its tars."""
    from pipelines.config.output_place import Kind, check_folder, kind_of

    if check_folder("--to", to, (Kind.VIEW, Kind.PARTS), overwrite=overwrite) is Kind.NOTHING:
        return
    found = kind_of(_tars_of(to))
    if materialize and found not in (Kind.NOTHING, Kind.TARS, Kind.SHARDS):
        raise ConflictError(
            f"{_tars_of(to)} holds {found.value}; expected a new or empty folder, or the view's own tars; name another "
            "folder for --to"
        )
    if overwrite and not materialize and found is not Kind.NOTHING:
        raise ConflictError(
            f"{_tars_of(to)} holds the tars of the view that --overwrite would replace; add --materialize webdataset, "
            "or name another folder for --to"
        )


def _tars_of(view: str) -> str:
    """Where the tars of a view go."""
    return f"{view.rstrip('/')}/webdataset"


@verb
def diff(
    first: Annotated[str, typer.Argument(help="A view.")],
    second: Annotated[str, typer.Argument(help="Another view, of the same evidence.")],
    as_json: bool = JSON,
) -> None:
    """What changed between two views: policy, samples, regions by fate, phrases by fate."""
    from pipelines.compile.diff import diff_views

    report = diff_views(first, second)
    give(as_json, report.data(), report.text())


@verb
def stats(source: EvidenceOrView, as_json: bool = JSON) -> None:
    """Counts and distributions of evidence or of a view; of a view, kept regions and those to ignore apart."""
    from pipelines.labels.stats import count_labels

    report = count_labels(source, progress=Progress())
    give(as_json, report.data(), report.text())


@verb
def inspect(
    source: EvidenceOrView,
    to: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    n: Annotated[int, typer.Option(min=1, help="How many samples, drawn by the seed.")] = 12,
    key: Annotated[
        list[str], typer.Option(help="Only this sample: KEY, SHARD/KEY or UNIT:INDEX; may be repeated.")
    ] = [],  # noqa: B006
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Only regions of at least this raw score.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Draw boxes, phrases and scores on the images, into a new or empty folder.

    A whole line is a kept box. Boxes to ignore and class_only ones have broken lines, which a legend explains.
    """
    from pipelines.config.output_place import Kind, check_folder
    from pipelines.labels.inspect import draw_samples

    check_folder("--to", str(to), Kind.PICTURES, repeats=False, overwrite=overwrite)
    report = draw_samples(
        source, to, n=n, keys=key, seed=seed, min_score=min_score, progress=Progress(), overwrite=overwrite
    )
    give(as_json, report.data(), report.text())


@verb
def export(
    source: EvidenceOrView,
    to: Annotated[str, typer.Option(help="File to write.")],
    format: Annotated[
        str, typer.Option(help=f"One of {', '.join(EXPORTERS.names())}, or module:attribute of an exporter.")
    ] = "coco",
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Write labels for other programs, and count what their format cannot hold.

    A region to ignore is written as iscrowd: 1 and counted on its own.
    """
    from pipelines.config.output_place import check_file
    from pipelines.exchange.export_labels import export_labels

    EXPORTERS.load(format)
    check_file("--to", to, overwrite=overwrite, reads=(source,))
    report = export_labels(source, format, to)
    give(as_json, report.data(), report.text())
