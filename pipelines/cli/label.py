"""The verbs of the data engineer: plan, label, status, verify, clean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.shell import JSON, SET, Progress, example, give, say, table, verb

Job = Annotated[Path, typer.Argument(help="The job: a YAML file.")]
Out = Annotated[str, typer.Argument(help="The output of a job: a folder or an object store URL.")]
WORK_TO_DO = 10


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("plan", epilog=example("groundswell plan job.yaml", "groundswell plan job.yaml --json"))(plan)
    app.command(
        "label",
        epilog=example(
            "groundswell label job.yaml", "groundswell label job.yaml --limit 8 --keep runs/taste"
        ),
    )(label)
    app.command("status", epilog=example("groundswell status runs/evidence --json"))(status)
    app.command("verify", epilog=example("groundswell verify runs/evidence"))(verify)
    app.command("clean", epilog=example("groundswell clean runs/evidence"))(clean)


@verb
def plan(
    job: Job,
    overrides: list[str] = SET,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit 10 when there is work to do, 0 when there is none."),
    ] = False,
    as_json: bool = JSON,
) -> None:
    """Say what `label` would do: shards, units that are done, units to do and why."""
    from pipelines.config import load_settings
    from pipelines.label.job import JobConfig
    from pipelines.label.run import plan as make_plan

    report = make_plan(load_settings(job, JobConfig, overrides))
    give(as_json, report.data(), report.text())
    if detailed_exitcode and report.has_work:
        raise typer.Exit(WORK_TO_DO)


@verb
def label(
    job: Job,
    overrides: list[str] = SET,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Label only so many samples, into an output that is thrown away at the end."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="With --limit: a folder for its output instead, e.g. to `inspect` it."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A running Ray cluster, host:port; else run.address, RAY_ADDRESS, then one of this machine."
        ),
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Label the job's shards; run again after any end, it continues. Exit 3 when units failed."""
    from pipelines.config import load_settings
    from pipelines.label.job import JobConfig
    from pipelines.label.run import label as run_label

    summary = run_label(
        load_settings(job, JobConfig, overrides),
        limit=limit,
        keep=keep,
        address=address,
        progress=Progress(),
    )
    give(as_json, summary, summary_text(summary))
    _exit_on_holes(summary)


@verb
def status(out: Out, as_json: bool = JSON) -> None:
    """Say how far a job is, from its commits."""
    from pipelines.label.run import status as read_status

    summary = read_status(out)
    give(as_json, summary, summary_text(summary))


@verb
def verify(out: Out, as_json: bool = JSON) -> None:
    """Read every file of an output again: digests, counts, schemas, spans, boxes. Exit 5 when one does not hold."""
    from pipelines.label.run import verify as run_verify

    summary = run_verify(out, progress=Progress())
    give(as_json, summary, summary_text(summary) + "\nevery digest, count, span and box holds")
    _exit_on_holes(summary)


@verb
def clean(out: Out, as_json: bool = JSON) -> None:
    """Delete files that lost a race to a commit; safe beside running jobs. Exit 5 when another run takes over."""
    from pipelines.label.clean import clean as run_clean
    from pipelines.label.clean import clean_text

    report = run_clean(out)
    give(as_json, report, clean_text(report))


def summary_text(summary: dict[str, Any]) -> str:
    """The summary of docs/interfaces.md as text."""
    units, samples = summary["units"], summary["samples"]
    rows = [
        ["units planned", units["planned"]],
        ["  committed", units["committed"]],
        ["  failed", units["failed"]],
        ["  pending", units["pending"]],
        ["samples in", samples["in"]],
        ["  labelled", samples["labelled"]],
        ["  empty", samples["empty"]],
        *[[f"  rejected {code}", count] for code, count in sorted(samples["rejected"].items())],
        ["regions", summary["regions"]],
    ]
    return table(rows, ["", "count"]) + f"\ndigest {summary['digest']}"


def _exit_on_holes(summary: dict[str, Any]) -> None:
    """Exit 3 for a run with failed, quarantined or unfinished units; say which failed and why."""
    for failure in summary.get("failures", []):
        say(f"failed {failure['unit']}: {failure['code']} {failure['detail']}")
    if any(summary["units"][name] for name in ("failed", "quarantined", "pending")):
        raise typer.Exit(3)
