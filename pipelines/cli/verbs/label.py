"""The verbs for a labeling job and its output: plan, label, status, retry, verify, clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import ADDRESS, JSON, LOG, OVERWRITE, SET, parse_roots, refuse_unused
from pipelines.cli.status_text import format_progress, format_summary
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_message, print_result
from pipelines.terminal.progress import ProgressPrinter
from schemas.errors import ConfigError, UnfinishedError

if TYPE_CHECKING:
    from pipelines.label.summary import LabelSummary


Job = Annotated[Path, typer.Argument(help="Labeling job: a YAML file.")]
Out = Annotated[str, typer.Argument(help="Output of a job: a folder or an object store URL.")]
WORK_TO_DO = 10
ENTRY = VerbFamily(order=40)
_WATCH_EVERY_S = 5.0


@ENTRY.verb(
    "plan",
    "groundswell plan job.yaml --measure 200 --prices prices.yaml",
    "groundswell plan job.yaml -o plan.json",
)
def plan(
    job: Job,
    overrides: list[str] = SET,
    images_per_s: Annotated[
        float | None, typer.Option(min=1e-6, help="Assume this many images per second per actor.")
    ] = None,
    measure: Annotated[
        int | None,
        typer.Option(min=1, help="Label this many samples to measure the rate. Their labels are not kept."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Price table: a YAML file with the fields of `price` in a job.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("-o", "--to", help="File for the report and the frozen plan, for `label --plan`."),
    ] = None,
    address: str | None = ADDRESS,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit 10 when there is work to do, 0 when there is none."),
    ] = False,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Estimate the work and cost of `label`.

    The report lists the units that are done, the units to do and why, the hours, bytes and money. Nothing is labeled
    unless --measure is given.
    """
    import json

    from engine.telemetry.logs import configure, parse_log_settings
    from pipelines.config import load_settings
    from pipelines.config.output_place import check_file
    from pipelines.label.job import JobConfig
    from pipelines.label.plan.plan import plan as make_plan
    from pipelines.label.prices import PriceSettings

    configure(parse_log_settings())
    refuse_unused(
        {"--overwrite": overwrite and to is None}, "no file is written; add --to FILE, or leave it out"
    )
    config = load_settings(job, JobConfig, overrides)
    if to is not None:
        lists = [url.removeprefix("@") for url in config.input.urls]
        check_file("--to", str(to), overwrite=overwrite, reads=(job, prices, config.input.only, *lists))
    if prices is not None:
        config = config.model_copy(update={"price": load_settings(prices, PriceSettings)})
    report = make_plan(
        config, images_per_s=images_per_s, measure=measure, address=address, progress=ProgressPrinter()
    )
    if to is not None:
        to.write_text(json.dumps(report.file(), ensure_ascii=False) + "\n", encoding="utf-8")
    print_result(as_json, report.data(), report.text())
    if detailed_exitcode and report.has_work:
        raise typer.Exit(WORK_TO_DO)


@ENTRY.verb(
    "label",
    "groundswell label job.yaml",
    "groundswell label job.yaml --plan plan.json",
    "groundswell label job.yaml --limit 8 --keep runs/trial",
)
def label(
    job: Job,
    overrides: list[str] = SET,
    frozen: Annotated[
        str | None,
        typer.Option(
            "--plan",
            help="Run exactly this plan: a file of `plan -o`, or a digest. Exit 5 when an input has changed.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trial run: label this many samples into an output that is deleted at the end."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="With --limit: write the trial run's output to this new folder and keep it, e.g. for `inspect`."
        ),
    ] = None,
    address: str | None = ADDRESS,
    insecure_cluster: Annotated[
        bool,
        typer.Option(
            "--insecure-cluster", help="Allow connecting to a cluster without token authentication."
        ),
    ] = False,
    log_format: str | None = LOG,
    as_json: bool = JSON,
) -> None:
    """Label the shards of a job. Run the same command again to continue an interrupted run.

    Exit 3 when units failed, are quarantined or unfinished, or when more samples were rejected than run.max_rejected
    allows.
    """
    from engine.storage.store import open_store
    from engine.telemetry.logs import configure, parse_log_settings
    from pipelines.config import load_settings
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder
    from pipelines.label.job import JobConfig
    from pipelines.label.run import label as run_label
    from pipelines.label.run_records import load_plan

    configure(parse_log_settings(log_format))
    extra = ["run.allow_unauthenticated=true"] if insecure_cluster else []
    config = load_settings(job, JobConfig, [*overrides, *extra])
    if limit is None:
        url, storage = config.output.url, config.output.storage
        check_folder("output.url", url, FolderKind.EVIDENCE, storage=storage, reads=(str(job),))
    elif keep is not None:
        check_folder("--keep", keep, FolderKind.EVIDENCE)
    summary = run_label(
        config,
        limit=limit,
        keep=keep,
        address=address,
        progress=ProgressPrinter(),
        frozen=load_plan(frozen, open_store(config.output.url, config.output.storage)) if frozen else None,
    )
    print_result(as_json, summary, format_summary(summary))
    _print_rejected(summary)
    _exit_if_unfinished(summary)


@ENTRY.verb("status", "groundswell status runs/evidence --watch", "groundswell status runs/evidence --json")
def status(
    out: Out,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Repeat until the run has ended. Exit 3 when units failed, are quarantined or unfinished.",
        ),
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two updates of --watch.")
    ] = _WATCH_EVERY_S,
    as_json: bool = JSON,
) -> None:
    """Show the progress of a job. Totals count committed units. The last run's own report is shown below them.

    Exit 3 when more samples were rejected than run.max_rejected allows, with --watch also when units are failed,
    quarantined or unfinished.
    """
    from pipelines.cli.watch import show_status
    from pipelines.label.progress.status import has_ended, read_status, watch_status

    refuse_unused(
        {"--every": not watch and every != _WATCH_EVERY_S},
        "the status is shown once; add --watch, or leave it out",
    )
    if not watch:
        found = read_status(out)
        print_result(as_json, found, "\n".join([format_summary(found), *format_progress(found["progress"])]))
        _exit_if_rejected(found)
        return
    last = show_status(watch_status(out, every), as_json)
    if last["progress"] is not None and last["progress"]["silent"] and has_ended(last):
        print_message(
            "the run has reported nothing for minutes, so its driver may be dead; run the same `label` command to "
            "continue"
        )
    _exit_if_unfinished(last)


@ENTRY.verb("retry", "groundswell retry runs/evidence --set run.actors.max=2")
def retry(
    out: Out,
    overrides: list[str] = SET,
    address: str | None = ADDRESS,
    log_format: str | None = LOG,
    as_json: bool = JSON,
) -> None:
    """Redo failed units and damaged or missing shards.

    Other units are not touched.

    Exit 3 when units still fail or, after a redo, are quarantined or unfinished, or when more samples were rejected
    than run.max_rejected allows.
    """
    from engine.telemetry.logs import configure, parse_log_settings
    from pipelines.label.retry import retry as run_retry

    configure(parse_log_settings(log_format))
    summary = run_retry(out, overrides, address, ProgressPrinter(), say=print_message)
    print_result(as_json, summary, format_summary(summary))
    _print_rejected(summary)
    if summary["redone"] or summary["units"]["failed"]:  # with nothing to retry, pending units are no failure
        _exit_if_unfinished(summary)
    _exit_if_rejected(summary)


@ENTRY.verb("verify", "groundswell verify runs/evidence", "groundswell verify runs/evidence --deep")
def verify(
    out: Out,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also read the shards again and compare every sample with its evidence."),
    ] = False,
    roots: Annotated[
        list[str],
        typer.Option(
            "--root",
            metavar="WAS=NOW",
            help="With --deep: read shards with the URL prefix WAS from NOW instead. Repeatable.",
        ),
    ] = [],  # noqa: B006
    as_json: bool = JSON,
) -> None:
    """Check every file of an output.

    Checked are digests, counts, schemas, spans and boxes. Exit 5 when a check fails, 3 when units are failed,
    quarantined or pending.
    """
    from pipelines.label.summary import extend_summary

    moved = parse_roots(roots)
    if deep:
        from pipelines.label.verify_against_shards import verify_deep

        totals = verify_deep(out, ProgressPrinter(), roots=moved)
        verdict = "verified: digests, counts, spans and boxes are right, and every sample equals its shard's"
    else:
        from engine.ledger.verify import verify as run_verify

        if roots:
            raise ConfigError("--root is for the shards that --deep reads; add --deep, or leave it out")
        totals = run_verify(out, progress=ProgressPrinter())
        verdict = "verified: digests, counts, spans and boxes are right"
    summary = extend_summary(totals)
    print_result(as_json, summary, format_summary(summary) + "\n" + verdict)
    _exit_if_holes(summary)


@ENTRY.verb("clean", "groundswell clean runs/evidence")
def clean(out: Out, as_json: bool = JSON) -> None:
    """Delete files that no commit uses.

    Safe while jobs run. Exit 5 when another run takes over the output.
    """
    from pipelines.label.clean import clean as run_clean
    from pipelines.label.clean import format_report

    report = run_clean(out)
    print_result(as_json, report, format_report(report))


def _print_rejected(summary: LabelSummary) -> None:
    """Print one line on stderr with the number of rejected samples, if there are any."""
    from pipelines.label.rejection_limit import judge_summary

    if line := judge_summary(summary).line():
        print_message(line)


def _exit_if_rejected(summary: LabelSummary) -> None:
    """Exit 3, with the reason, for a job that has no sample or rejected more than `run.max_rejected` allows."""
    from pipelines.label.rejection_limit import judge_summary

    if text := judge_summary(summary).text():
        print_message(f"error: {text}")
        raise typer.Exit(UnfinishedError.exit_code)


def _exit_if_unfinished(summary: LabelSummary) -> None:
    """Exit 3 for holes and for too many rejected samples. Both are reported."""
    try:
        _exit_if_holes(summary)
    finally:
        _exit_if_rejected(summary)


def _exit_if_holes(summary: LabelSummary) -> None:
    """Exit 3 for a run with failed, quarantined or unfinished units; print the failed ones with their reason."""
    for failure in summary["failures"]:
        print_message(f"failed {failure['unit']}: {failure['code']} {failure['detail']}")
    units = summary["units"]
    if units["failed"] or units["quarantined"] or units["pending"]:
        raise typer.Exit(UnfinishedError.exit_code)
