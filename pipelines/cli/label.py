"""The verbs of the data engineer: plan, label, status, retry, verify, clean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.shell import (
    ADDRESS,
    JSON,
    LOG,
    OVERWRITE,
    SET,
    Progress,
    example,
    give,
    parse_roots,
    say,
    verb,
)
from pipelines.cli.status_text import progress_lines, summary_text
from schemas.errors import ConfigError

Job = Annotated[Path, typer.Argument(help="The job: a YAML file.")]
Out = Annotated[str, typer.Argument(help="The output of a job: a folder or an object store URL.")]
WORK_TO_DO = 10


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command(
        "plan",
        epilog=example(
            "groundswell plan job.yaml --measure 200 --prices prices.yaml",
            "groundswell plan job.yaml -o plan.json",
        ),
    )(plan)
    app.command(
        "label",
        epilog=example(
            "groundswell label job.yaml",
            "groundswell label job.yaml --plan plan.json",
            "groundswell label job.yaml --limit 8 --keep runs/taste",
        ),
    )(label)
    app.command(
        "status",
        epilog=example("groundswell status runs/evidence --watch", "groundswell status runs/evidence --json"),
    )(status)
    app.command("retry", epilog=example("groundswell retry runs/evidence --set run.actors.max=2"))(retry)
    app.command(
        "verify",
        epilog=example("groundswell verify runs/evidence", "groundswell verify runs/evidence --deep"),
    )(verify)
    app.command("clean", epilog=example("groundswell clean runs/evidence"))(clean)


@verb
def plan(
    job: Job,
    overrides: list[str] = SET,
    images_per_s: Annotated[
        float | None, typer.Option(min=1e-6, help="Assume so many images per second and actor.")
    ] = None,
    measure: Annotated[
        int | None,
        typer.Option(min=1, help="Label so many samples, into a throw-away output, to learn the rate."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A price table: YAML with the fields of `price` in a job.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("-o", "--to", help="Write report and frozen plan, for `label --plan`.")
    ] = None,
    address: str | None = ADDRESS,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit 10 when there is work to do, 0 when there is none."),
    ] = False,
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Say what `label` would do and what it takes: units done, to do and why, hours, bytes and money."""
    import json

    from engine.telemetry.logs import configure, parse_log_settings
    from pipelines.config import load_settings
    from pipelines.config.output_place import check_file
    from pipelines.label.job import JobConfig
    from pipelines.label.plan.plan import plan as make_plan
    from pipelines.label.plan.prices import PriceSettings

    configure(parse_log_settings())
    asked = load_settings(job, JobConfig, overrides)
    if to is not None:
        lists = [url.removeprefix("@") for url in asked.input.urls]
        check_file("--to", str(to), overwrite=overwrite, reads=(job, prices, asked.input.only, *lists))
    if prices is not None:
        asked = asked.model_copy(update={"price": load_settings(prices, PriceSettings)})
    report = make_plan(
        asked, images_per_s=images_per_s, measure=measure, address=address, progress=Progress()
    )
    if to is not None:
        to.write_text(json.dumps(report.file(), ensure_ascii=False) + "\n", encoding="utf-8")
    give(as_json, report.data(), report.text())
    if detailed_exitcode and report.has_work:
        raise typer.Exit(WORK_TO_DO)


@verb
def label(
    job: Job,
    overrides: list[str] = SET,
    frozen: Annotated[
        str | None,
        typer.Option(
            "--plan",
            help="Run exactly this plan: a file of `plan -o`, or a digest. Exit 5 when an input changed.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Label only so many samples, into an output that is thrown away at the end."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="With --limit: a new folder for its output instead, e.g. to `inspect` it."),
    ] = None,
    address: str | None = ADDRESS,
    insecure_cluster: Annotated[
        bool,
        typer.Option("--insecure-cluster", help="Work on a running cluster that asks nobody for a token."),
    ] = False,
    log_format: str | None = LOG,
    as_json: bool = JSON,
) -> None:
    """Label the job's shards; run again after any end, it continues.

    Exit 3 when units failed, or when more samples were rejected than run.max_rejected allows.
    """
    from engine.storage.store import open_store
    from engine.telemetry.logs import configure, parse_log_settings
    from pipelines.config import load_settings
    from pipelines.config.output_place import Kind, check_folder
    from pipelines.label.job import JobConfig
    from pipelines.label.run import label as run_label
    from pipelines.label.run_records import load_plan

    configure(parse_log_settings(log_format))
    accepted = ["run.allow_unauthenticated=true"] if insecure_cluster else []
    asked = load_settings(job, JobConfig, [*overrides, *accepted])
    if limit is None:
        where, storage = asked.output.url, asked.output.storage
        check_folder("output.url", where, Kind.EVIDENCE, storage=storage, reads=(str(job),))
    elif keep is not None:
        check_folder("--keep", keep, Kind.EVIDENCE)
    summary = run_label(
        asked,
        limit=limit,
        keep=keep,
        address=address,
        progress=Progress(),
        frozen=load_plan(frozen, open_store(asked.output.url, asked.output.storage)) if frozen else None,
    )
    give(as_json, summary, summary_text(summary))
    _say_rejected(summary)
    _exit_on_unfinished(summary)


@verb
def status(
    out: Out,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again until the run has ended. Exit 3 on holes.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 5.0,
    as_json: bool = JSON,
) -> None:
    """Say how far a job is, from its commits, and what its last run says of itself.

    Exit 3 when more samples were rejected than run.max_rejected allows.
    """
    from pipelines.cli.watch import show
    from pipelines.label.progress.status import has_ended, look
    from pipelines.label.progress.status import watch as looks

    if not watch:
        found = look(out)
        give(as_json, found, "\n".join([summary_text(found), *progress_lines(found["progress"])]))
        _exit_on_rejected(found)
        return
    last = show(looks(out, every), as_json)
    if last["progress"] is not None and last["progress"]["silent"] and has_ended(last):
        say(
            "nothing was heard of the run for minutes: its driver may be dead; the same label command continues"
        )
    _exit_on_unfinished(last)


@verb
def retry(
    out: Out,
    overrides: list[str] = SET,
    address: str | None = ADDRESS,
    log_format: str | None = LOG,
    as_json: bool = JSON,
) -> None:
    """Redo the units that failed, and shards that were missing or damaged; nothing else.

    Exit 3 on holes, or when more samples were rejected than run.max_rejected allows.
    """
    from engine.telemetry.logs import configure, parse_log_settings
    from pipelines.label.retry import retry as run_retry

    configure(parse_log_settings(log_format))
    summary = run_retry(out, overrides, address, Progress(), say=say)
    give(as_json, summary, summary_text(summary))
    _say_rejected(summary)
    if summary["redone"] or summary["units"]["failed"]:  # nothing to retry is no failure, whatever is pending
        _exit_on_unfinished(summary)
    _exit_on_rejected(summary)


@verb
def verify(
    out: Out,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Read the shards again too, and compare every sample with its evidence."),
    ] = False,
    roots: Annotated[
        list[str],
        typer.Option(
            "--root", metavar="WAS=NOW", help="With --deep: shards under the prefix WAS lie under NOW."
        ),
    ] = [],  # noqa: B006
    as_json: bool = JSON,
) -> None:
    """Read every file of an output again: digests, counts, schemas, spans, boxes. Exit 5 when one does not hold."""
    moved = parse_roots(roots)
    if deep:
        from pipelines.label.verify_against_shards import verify_deep

        summary = verify_deep(out, Progress(), roots=moved)
        said = "every digest, count, span and box holds, and every sample is what its shard says"
    else:
        from pipelines.label.run import verify as run_verify

        if roots:
            raise ConfigError("--root is for the shards that --deep reads")
        summary, said = run_verify(out, progress=Progress()), "every digest, count, span and box holds"
    give(as_json, summary, summary_text(summary) + "\n" + said)
    _exit_on_holes(summary)


@verb
def clean(out: Out, as_json: bool = JSON) -> None:
    """Delete files that lost a race to a commit; safe beside running jobs. Exit 5 when another run takes over."""
    from pipelines.label.clean import clean as run_clean
    from pipelines.label.clean import clean_text

    report = run_clean(out)
    give(as_json, report, clean_text(report))


def _say_rejected(summary: dict[str, Any]) -> None:
    """Say in one line on stderr how many samples were rejected, if any."""
    from pipelines.label.rejection_limit import judge_summary

    if line := judge_summary(summary).line():
        say(line)


def _exit_on_rejected(summary: dict[str, Any]) -> None:
    """Exit 3 for a job that rejected more samples than `run.max_rejected`, or holds none; say why."""
    from pipelines.label.rejection_limit import judge_summary

    if text := judge_summary(summary).text():
        say(f"error: {text}")
        raise typer.Exit(3)


def _exit_on_unfinished(summary: dict[str, Any]) -> None:
    """Exit 3 on holes, and on too many rejected samples; say both."""
    try:
        _exit_on_holes(summary)
    finally:
        _exit_on_rejected(summary)


def _exit_on_holes(summary: dict[str, Any]) -> None:
    """Exit 3 for a run with failed, quarantined or unfinished units; say which failed and why."""
    for failure in summary.get("failures", []):
        say(f"failed {failure['unit']}: {failure['code']} {failure['detail']}")
    if any(summary["units"][name] for name in ("failed", "quarantined", "pending")):
        raise typer.Exit(3)
