"""What a run says of itself beside the evidence, and the newest such record of an output.

Promise: it is for people. A reader sees when it was written, and one that cannot be read is passed over.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from engine.settings import RunSettings
from engine.storage.store import Store
from schemas.ledger import FORMAT_VERSION
from schemas.records import Record

FOLDER = "progress"
State = Literal["starting", "running", "draining", "finished", "interrupted", "failed"]
ENDED = ("finished", "interrupted", "failed")


def run_name() -> str:
    """A new run's name; begins with the time of this machine's clock, so that names sort as runs began."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}"


class ProgressRecord(Record):
    """One look at a run, in the numbers of its driver."""

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
    samples_here: int = Field(description="asked for and committed in this run")
    samples_per_s: dict[str, float | None]
    left_s: float | None
    busy_s: float = Field(description="seconds that workers spent on the samples of this run, summed")
    actors_wanted: int
    actors_placed: int
    retries: dict[str, int] = Field(description="by code: how often a unit or shard was handed out again")
    uncharged: dict[str, int] = Field(
        default_factory=dict,
        description="of `retries`, those that charged no attempt: a node went, or the run stops",
    )
    worker_deaths: int
    preempted: int
    failures: dict[str, dict[str, Any]] = Field(description="code: {count, first: first line of the first}")
    gpu_hours: float
    cpu_hours: float
    cost: dict[str, Any] | None
    settings: RunSettings = Field(description="`run` of the job; the default of `retry`")


def newest_progress(store: Store) -> ProgressRecord | None:
    """The record of the run that began last, by the drivers' clocks; None when no readable one is there."""
    for path in reversed(store.list(FOLDER)):
        try:
            return ProgressRecord.model_validate_json(store.read(path))
        except ValueError:  # of another version: it is for people, an older one will do
            continue
    return None
