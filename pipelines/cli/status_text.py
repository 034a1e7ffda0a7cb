"""A summary and a run's progress as lines for people."""

from __future__ import annotations

from typing import Any

from pipelines.cli.shell import clock, table

_MANY = 8


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
    text = table(rows, ["", "count"]) + f"\ndigest {summary['digest']}"
    if "selection" in summary:
        found = samples["in"] - samples["rejected"].get("NOT_SELECTED", 0)
        text += f"\n{found} samples of {summary['selection']['keys']} keys that were asked for"
    return text


def progress_lines(said: dict[str, Any] | None) -> list[str]:
    """What a run said of itself."""
    if said is None:
        return []
    state = said["state"] + (" when last heard; the driver may be dead" if said["silent"] else "")
    lines = [f"run {said['run']}: {state}, last heard {clock(said['heard_s_ago'])} ago"]
    if said["error"]:
        lines.append(f"  {said['error']}")
    spent = clock(said["seconds"])
    lines.append(
        f"  {said['units_done']}/{said['units_planned']} units, {said['samples_here']} samples in {spent}"
    )
    rates = [f"{rate:.3g}/s ({name})" for name, rate in said["samples_per_s"].items() if rate is not None]
    left = [f"about {clock(said['left_s'])} left"] if said["left_s"] else []
    lines += ["  samples " + ", ".join(rates + left)] if rates else []
    lines.append(
        f"  actors {said['actors_placed']}/{said['actors_wanted']}, {sum(said['retries'].values())} retries, "
        f"{said['worker_deaths']} worker deaths, {said['preempted']} preempted"
    )
    lines += [
        f"  failed {code}: {of['count']}, first: {of['first']}"
        for code, of in list(said["failures"].items())[:_MANY]
    ]
    lines.append(
        f"  {said['gpu_hours']:.2f} GPU hours, {said['cpu_hours']:.2f} CPU hours{_cost(said['cost'])}"
    )
    return lines


def line_of(found: dict[str, Any]) -> str:
    """A look in one line, for where no cursor can move."""
    units, said = found["units"], found["progress"]
    line = f"{units['committed']}/{units['planned']} units committed, {units['failed']} failed"
    if said is None:
        return line
    rate = said["samples_per_s"]["1m"]
    line += f"; {said['state']}{' (silent)' if said['silent'] else ''}, {said['units_done']} units told"
    line += f", {rate:.3g} samples/s" if rate is not None else ""
    return line + (f", {clock(said['left_s'])} left" if said["left_s"] else "")


def _cost(bill: dict[str, Any] | None) -> str:
    return "" if bill is None or bill["total"] is None else f", {bill['total']:.2f} {bill['currency']} so far"
