"""The status of an output: its newest snapshot, and what its last run reported, with the age of the report.

Units and samples come from the snapshot alone. A run's own numbers are shown next to them, never mixed in. A driver
that stopped reporting is marked as silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypedDict, cast

from engine.ledger.snapshots.status import status_of
from engine.settings import RunSettings
from engine.storage.store import Store, open_store
from pipelines.label.prices import Bill
from pipelines.label.progress.record import ENDED, FailureCount, State, load_latest_progress
from pipelines.label.rejection_limit import judge
from pipelines.label.summary import LabelSummary, extend_summary

SILENT_BEATS = 6
GIVE_UP_S = 300.0


class RunReport(TypedDict):
    """A `ProgressRecord` as JSON (its main fields), with its age and whether the run is silent."""

    run: str
    state: State
    error: str | None
    seconds: float
    units_planned: int
    units_done: int
    samples_here: int
    samples_per_s: dict[str, float | None]
    left_s: float | None
    actors_wanted: int
    actors_placed: int
    retries: dict[str, int]
    worker_deaths: int
    preempted: int
    failures: dict[str, FailureCount]
    gpu_hours: float
    cpu_hours: float
    cost: Bill | None
    heard_s_ago: float
    silent: bool


class Status(LabelSummary):
    """A summary with what the last run reported."""

    progress: RunReport | None


def _utc_now() -> datetime:
    return datetime.now(UTC)


def read_status(url: str, store: Store | None = None, now: Callable[[], datetime] = _utc_now) -> Status:
    """Return the summary of docs/interfaces.md with `judged` and `progress`. Raises NotFoundError."""
    store = store or open_store(url)
    record = load_latest_progress(store)
    summary = extend_summary(status_of(store))
    limit = (RunSettings() if record is None else record.settings).max_rejected
    summary["judged"] = judge(summary, limit).data()
    if record is None:
        return {**summary, "progress": None}
    age_s = max((now() - datetime.fromisoformat(record.written_at)).total_seconds(), 0.0)
    silent = record.state not in ENDED and age_s > SILENT_BEATS * record.every_s
    report = record.model_dump(mode="json") | {"heard_s_ago": round(age_s, 1), "silent": silent}
    return {**summary, "progress": cast(RunReport, report)}


def watch_status(
    url: str,
    every_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = _utc_now,
) -> Iterator[Status]:
    """Yield the status again and again, until the run has ended or was silent for five minutes, or if there is none."""
    store = open_store(url)
    while True:
        status = read_status(url, store, now)
        yield status
        if has_ended(status):
            return
        sleep(every_s)


def has_ended(status: Status) -> bool:
    """Return whether there is nothing more to wait for."""
    report = status["progress"]
    return report is None or report["state"] in ENDED or report["heard_s_ago"] > GIVE_UP_S
