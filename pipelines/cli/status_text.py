"""Format the summary of an output and the progress of a run for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.terminal.progress import format_clock
from pipelines.terminal.table import format_table

if TYPE_CHECKING:
    from pipelines.label.prices import Bill
    from pipelines.label.progress.status import RunReport, Status
    from pipelines.label.summary import LabelSummary

_MAX_FAILURE_CODES = 8


def format_summary(summary: LabelSummary) -> str:
    """Format the summary of docs/interfaces.md."""
    units, samples = summary["units"], summary["samples"]
    rows = [
        ["units planned", units["planned"]],
        ["  committed", units["committed"]],
        ["  failed", units["failed"]],
        ["  pending", units["pending"]],
        ["samples in", samples["in"]],
        ["  labeled", samples["labelled"]],
        ["  empty", samples["empty"]],
        *[[f"  rejected {code}", count] for code, count in sorted(samples["rejected"].items())],
        ["regions", summary["regions"]],
    ]
    text = format_table(rows, ["", "count"]) + f"\ndigest {summary['digest']}"
    if "selection" in summary:
        found = samples["in"] - samples["rejected"].get("NOT_SELECTED", 0)
        text += f"\nfound {found} samples of the {summary['selection']['keys']} keys in input.only"
    return text


def format_progress(report: RunReport | None) -> list[str]:
    """Return what a run reported about itself as text lines; none if no run reported."""
    if report is None:
        return []
    silent = " in its last report; the driver may be dead" if report["silent"] else ""
    lines = [
        f"run {report['run']}: {report['state']}{silent}, last report {format_clock(report['heard_s_ago'])} ago"
    ]
    if report["error"]:
        lines.append(f"  {report['error']}")
    lines.append(
        f"  {report['units_done']}/{report['units_planned']} units, {report['samples_here']} samples in "
        f"{format_clock(report['seconds'])}"
    )
    rates = [f"{rate:.3g}/s ({name})" for name, rate in report["samples_per_s"].items() if rate is not None]
    left = [f"about {format_clock(report['left_s'])} left"] if report["left_s"] else []
    lines += ["  samples " + ", ".join(rates + left)] if rates else []
    lines.append(
        f"  actors {report['actors_placed']}/{report['actors_wanted']}, {sum(report['retries'].values())} retries, "
        f"{report['worker_deaths']} worker deaths, {report['preempted']} preempted"
    )
    lines += [
        f"  failed {code}: {failures['count']}, first: {failures['first']}"
        for code, failures in list(report["failures"].items())[:_MAX_FAILURE_CODES]
    ]
    lines.append(
        f"  {report['gpu_hours']:.2f} GPU hours, {report['cpu_hours']:.2f} CPU hours{_format_cost(report['cost'])}"
    )
    return lines


def format_status_line(status: Status) -> str:
    """Format a status as one line, for where no line can be redrawn."""
    units, report = status["units"], status["progress"]
    line = f"{units['committed']}/{units['planned']} units committed, {units['failed']} failed"
    if report is None:
        return line
    rate = report["samples_per_s"]["1m"]
    line += f"; {report['state']}{' (silent)' if report['silent'] else ''}, {report['units_done']} units done"
    line += f", {rate:.3g} samples/s" if rate is not None else ""
    return line + (f", {format_clock(report['left_s'])} left" if report["left_s"] else "")


def _format_cost(bill: Bill | None) -> str:
    return "" if bill is None or bill["total"] is None else f", {bill['total']:.2f} {bill['currency']} so far"
