"""The records that a driver and its workers exchange, as JSON: what to do, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pydantic import Field, JsonValue, field_validator

from engine.reading.shard_cache import ShardStat
from engine.redaction import redact
from engine.settings import InputSettings, RunSettings, StorageSettings
from engine.telemetry.logs import LogSettings
from schemas.ledger import FingerprintParts, ShardFacts, SnapshotEntry, Unit, unit_name
from schemas.records import Record
from schemas.settings import EvidenceSettings

WORKER_DIED = "WORKER_DIED"


class Factory(Record):
    """How to make a labeler, a phrase finder or a decoy chooser: `module:function` and its keyword arguments."""

    factory: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    digest: str = Field(description="what the made object's digest must be")


class DecoySpec(Record):
    """How to make the chooser of a job's decoys. Its factory also takes the text of the pool in the output."""

    chooser: Factory
    pool: str = Field(description="digest of the pool")


class WorkerSpec(Record):
    """Everything that a worker needs to know once."""

    output_url: str
    output_storage: StorageSettings | None = None
    input: InputSettings
    evidence: EvidenceSettings
    labeler: Factory
    finder: Factory
    decoys: DecoySpec | None = None
    run: RunSettings = RunSettings()
    batch_size: int | None = Field(
        None,
        description="upper bound of the batch size at the start: an earlier worker ran out of memory above it",
    )
    epoch: int = Field(
        0, description="epoch of the driver, for the records of attempts; 0 if it claimed none"
    )
    run_name: str = Field("", description="run of the job; used in log lines only")
    log: LogSettings = LogSettings()


class Trust(StrEnum):
    """Whether a task may run inside its worker, or may kill it."""

    TRUSTED = "trusted"
    SUSPECT = "suspect"
    """It waited in a worker that died. If its next worker dies too, it is isolated."""
    ISOLATED = "isolated"
    """It runs in sandbox processes: it may have killed its worker."""


class Deferral(StrEnum):
    """Whether a unit that was begun often by earlier runs may wait until the other units are done."""

    ALLOWED = "allowed"
    DONE = "done"
    """It was deferred once, so it runs now, whatever its attempts."""


class Task(Record):
    """Read a shard to its end, or label one unit of it."""

    shard: ShardStat
    unit: Unit | None = None
    parts: FingerprintParts | None = None
    trust: Trust = Trust.TRUSTED
    deferral: Deferral = Deferral.ALLOWED
    attempt: int = Field(
        1, ge=1, description="how often it was dispatched so far, this time included; for log lines"
    )

    @property
    def name(self) -> str:
        """The unit's name. A shard that was not read yet has the name of its first unit."""
        return self.unit.name if self.unit else unit_name(self.shard.url, 0)

    @property
    def identity(self) -> tuple[str, bool]:
        """A key of the task: the name alone is shared by a shard and its first unit."""
        return self.name, self.unit is None


class Retry(StrEnum):
    """Whether a failed task is tried again, and at whose expense."""

    NEVER = "never"
    CHARGED = "charged"
    """The failure counts as an attempt, and attempts are bounded."""
    FREE = "free"
    """The failure does not count: the task did not cause it."""
    SUSPECT = "suspect"
    """The failure does not count, but the task was in a worker that died."""


class Failure(Record):
    """Why a task failed."""

    code: str
    detail: str
    retry: Retry = Retry.NEVER

    _no_secret = field_validator("detail")(redact)


class Abort(Record):
    """An error of `schemas.errors`, by class name, that ends the run."""

    error: str
    message: str

    _no_secret = field_validator("message")(redact)


class Outcome(Record):
    """How a task ended: facts of a shard, a committed unit, a failure, a deferral, or an error that ends the run."""

    task: Task
    facts: ShardFacts | None = None
    entry: SnapshotEntry | None = None
    busy_s: float | None = Field(
        None,
        description="seconds of work on a committed unit: reading, preparing and labeling it, without loading the "
        "teacher and waiting for a turn; of an isolated unit, the seconds of its processes, with their loading",
    )
    failure: Failure | None = None
    abort: Abort | None = None
    is_deferred: bool = Field(
        False, description="not begun: earlier attempts failed, so other units go first"
    )
    batch_size: int | None = Field(
        None, description="batch size after running out of memory; none: never lowered"
    )


@dataclass
class PoolState:
    """Numbers on a pool's workers for people. No decision depends on them."""

    wanted: int = 1
    placed: int = 0
    deaths: int = 0
    preempted: int = 0


class Pool(Protocol):
    """Workers of any kind. Both executors implement this contract."""

    def capacity(self, remaining: int | None = None) -> int:
        """Return how many more tasks the pool takes now.

        remaining: tasks not yet dispatched. If there is at most one for each worker, no worker queues a second task.
        """
        ...

    def wait_for_capacity(self) -> None:
        """Return when `capacity()` is not 0 or the run is to stop.

        raises: RuntimeEnvironmentError if no worker can be started
        """
        ...

    def submit(self, task: Task) -> None:
        """Dispatch a task. Requires `capacity() > 0`."""
        ...

    def count_in_flight(self) -> int:
        """Return the number of tasks dispatched and not yet answered."""
        ...

    def next_outcome(self) -> Outcome:
        """Wait for the next task to end. Raise RuntimeEnvironmentError if no worker can be started."""
        ...

    def state(self) -> PoolState:
        """Return numbers on the workers. Safe to call from another thread."""
        ...

    def close(self) -> None:
        """Release the workers."""
        ...
