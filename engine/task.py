"""What a driver gives to workers and gets back: plain records that travel as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field, field_validator

from engine.reading.shard_cache import ShardStat
from engine.redaction import redact
from engine.settings import InputSettings, RunSettings, StorageSettings
from engine.telemetry.logs import LogSettings
from schemas.ledger import FingerprintParts, ShardFacts, SnapshotEntry, Unit, unit_name
from schemas.records import Record
from schemas.settings import EvidenceSettings

WORKER_DIED = "WORKER_DIED"


class Factory(Record):
    """How to make a labeler or a phrase finder: `module:function` and its keyword arguments."""

    factory: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    digest: str = Field(description="what the made object's digest must be")


class DecoySpec(Record):
    """How to make the chooser of a job's decoys; its factory takes the pool that the output keeps, too, as text."""

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
        None, description="start with batches no larger: a worker before ran out of memory with more"
    )
    epoch: int = Field(0, description="of the driver, for the attempts' records; 0 where it claimed none")
    run_name: str = Field("", description="which run of the job asks; names log lines, nothing else")
    log: LogSettings = LogSettings()


class Task(Record):
    """Read a shard to its end, or label one unit of it."""

    shard: ShardStat
    unit: Unit | None = None
    parts: FingerprintParts | None = None
    isolate: bool = Field(False, description="do it in disposable processes: it may have killed its worker")
    suspect: bool = Field(False, description="it waited in a worker that died; the next time it is isolated")
    waited: bool = Field(False, description="was put back before, so it is done whatever its attempts")
    attempt: int = Field(1, ge=1, description="how often it was handed out by now; for log lines")

    @property
    def name(self) -> str:
        """The unit's name; a shard that was not read yet goes by its first unit's."""
        return self.unit.name if self.unit else unit_name(self.shard.url, 0)

    @property
    def identity(self) -> tuple[str, bool]:
        """Tells tasks apart: a shard to be read and its first unit have one name."""
        return self.name, self.unit is None


class Failure(Record):
    """Why a task did not end well. A retryable one is tried again, a bounded number of times."""

    code: str
    detail: str
    retryable: bool = False
    charged: bool = Field(True, description="counts as an attempt; false when the task is blameless")
    suspect: bool = Field(False, description="not charged, but the task was in the worker that died")

    _no_secret = field_validator("detail")(redact)


class Stop(Record):
    """An error of `schemas.errors` that ends the run, by class name."""

    error: str
    message: str

    _no_secret = field_validator("message")(redact)


class Outcome(Record):
    """How a task ended: facts of a shard, a committed unit, a failure, or an error that ends the run."""

    task: Task
    facts: ShardFacts | None = None
    entry: SnapshotEntry | None = None
    busy_s: float | None = Field(
        None, description="seconds of work on the unit, loading the teacher left out"
    )
    failure: Failure | None = None
    stop: Stop | None = None
    batch_size: int | None = Field(None, description="what running out of memory has lowered batches to")
    put_back: bool = Field(False, description="not begun: earlier attempts failed, so others should go first")


@dataclass
class PoolState:
    """What a pool tells of its workers: numbers for people, never a reason for a decision."""

    wanted: int = 1
    placed: int = 0
    deaths: int = 0
    preempted: int = 0


class Pool(Protocol):
    """Workers of any kind. Both executors keep this contract."""

    def capacity(self, left: int | None = None) -> int:
        """How many more tasks the pool takes now. With no more than a task a worker `left`, none gets a second one."""
        ...

    def wait_for_room(self) -> None:
        """Return when `capacity()` is not 0, or the run is to stop.

        Raises RuntimeEnvironmentError without any worker.
        """
        ...

    def submit(self, task: Task) -> None:
        """Hand over a task; there must be room."""
        ...

    def busy(self) -> int:
        """Tasks handed over and not yet answered."""
        ...

    def next_outcome(self) -> Outcome:
        """Wait for the next task to end. Raises RuntimeEnvironmentError when no worker can be had."""
        ...

    def state(self) -> PoolState:
        """How its workers are; may be asked from another thread."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...
