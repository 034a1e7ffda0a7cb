"""The progress record: what a run reports about itself in its output, and the latest such record.

It is for people and never read for truth. It says when it was written. A record that cannot be read is skipped.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from pydantic import Field

from engine.settings import RunSettings
from engine.storage.store import Store
from schemas.ledger import FORMAT_VERSION
from schemas.records import Record

FOLDER = "progress"
State = Literal["starting", "running", "draining", "finished", "interrupted", "failed"]
ENDED = ("finished", "interrupted", "failed")


class FailureCount(TypedDict):
    """The failures of one code: how many, and the first line of the first one."""

    count: int
    first: str


def make_run_name() -> str:
    """Return a name for a new run. It begins with this machine's time, so that names sort in order of start."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}"


class ProgressRecord(Record):
    """The state of a run at one moment, as its driver counts it."""

    format_version: str = FORMAT_VERSION
    run: str
    job: str
    plan: str = Field(description="digest of the frozen plan")
    state: State
    error: str | None = Field(None, description="first line of what ended the run")
    started_at: str
    written_at: str = Field(description="by the driver's clock, informative only")
    every_s: float
    seconds: float
    units_planned: int
    units_done: int = Field(description="committed or failed, by earlier runs too")
    units_here: int = Field(description="ended in this run")
    samples_here: int = Field(description="selected and committed in this run")
    samples_per_s: dict[str, float | None]
    left_s: float | None
    busy_s: float = Field(description="seconds that workers spent on the samples of this run, summed")
    actors_wanted: int
    actors_placed: int
    retries: dict[str, int] = Field(description="by code: how often a unit or shard was dispatched again")
    uncharged: dict[str, int] = Field(
        default_factory=dict,
        description="of `retries`, those that charged no attempt: a node was lost, or the run stops",
    )
    worker_deaths: int
    preempted: int
    failures: dict[str, dict[str, Any]] = Field(description="code: {count, first: first line of the first}")
    gpu_hours: float
    cpu_hours: float
    cost: dict[str, Any] | None
    settings: RunSettings = Field(description="`run` of the job; the default of `retry`")


def load_latest_progress(store: Store) -> ProgressRecord | None:
    """Load the record of the run that started last, by the drivers' clocks; None if there is no readable one."""
    for path in reversed(store.list(FOLDER)):
        try:
            return ProgressRecord.model_validate_json(store.read(path))
        except ValueError:  # of another version: an older record is good enough for people
            continue
    return None
