"""How a run is doing, told every few seconds beside the evidence: state, rate, time left, cost, what failed and why.

Promise: a progress record is for people. It is overwritten, never read for truth, and no failure to write it touches
the run. Who reads it sees when it was written, so a dead driver does not look alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from engine.reading.key_selection import CODE as NOT_SELECTED
from engine.redaction import redact
from engine.settings import RunSettings
from engine.storage.store import Store
from engine.task import Outcome, Pool, PoolState, Task
from engine.telemetry.metrics import Meter, NullMeter
from pipelines.label.plan.prices import PriceSettings, cost
from pipelines.label.progress.record import ENDED, FOLDER, ProgressRecord, State

log = logging.getLogger(__name__)
EVERY_S = 5.0
WINDOWS_S = {"1m": 60.0, "10m": 600.0}
_LINE = 200


class RunProgress:
    """Counts what happens in a run. An Observer; the driver's loop tells it, a thread asks it."""

    def __init__(
        self,
        run: str,
        job: str,
        plan: str,
        settings: RunSettings,
        unit_samples: int,
        prices: PriceSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self._job, self._plan, self._settings, self._prices = run, job, plan, settings, prices
        self._unit_samples = unit_samples
        self._clock, self._lock = clock, threading.Lock()
        self._began = self._billed = clock()
        self._started_at = _now()
        self._pool: Pool | None = None
        self.meter: Meter = NullMeter()
        self._planned = self._done = self._unread = 0
        self._units = self._samples = self._shards_read = self._units_of_read = 0
        self._steps: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])  # time, samples, units
        self._busy_s = self._gpu_hours = self._cpu_hours = 0.0
        self._retries: Counter[str] = Counter()
        self._uncharged: Counter[str] = Counter()
        self._failures: dict[str, dict[str, Any]] = {}

    def begin(self, planned: int, done: int, unread: int) -> None:
        """What stands before the run's first task. unread: shards that count as one unit each until they are read."""
        with self._lock:
            self._planned, self._done, self._unread = planned, done, unread

    def working(self, pool: Pool, meter: Meter | None = None) -> None:
        """The pool is there: from now on its workers cost money, and rates count."""
        with self._lock:
            self._bill()
            self._pool, self.meter = pool, meter or NullMeter()
            self._steps = deque([(self._clock(), self._samples, self._units)])

    @property
    def is_working(self) -> bool:
        """Whether the pool is there."""
        return self._pool is not None

    def handed_out(self, task: Task) -> None:
        """See Observer."""

    def retried(self, outcome: Outcome) -> None:
        """See Observer."""
        assert outcome.failure is not None
        with self._lock:
            self._retries[outcome.failure.code] += 1
            if not outcome.failure.charged:
                self._uncharged[outcome.failure.code] += 1
        self.meter.count("groundswell_retries_total", 1, code=outcome.failure.code)

    def settled(self, outcome: Outcome) -> None:
        """See Observer."""
        with self._lock:
            if outcome.facts is not None:
                units = max(1, -(-outcome.facts.samples // self._unit_samples))
                self._unread -= 1
                self._shards_read += 1
                self._units_of_read += units
                self._planned += units - 1
            elif outcome.failure is not None:
                self._fail(outcome)
            elif outcome.entry is not None:
                counts = outcome.entry.counts
                self._samples += counts.samples_in - counts.rejected.get(NOT_SELECTED, 0)
                self._busy_s += outcome.busy_s or 0.0
                self._step()

    def record(self, state: State, error: str | None = None) -> ProgressRecord:
        """How the run is now."""
        with self._lock:
            self._bill()
            pool = self._pool.state() if self._pool else PoolState(wanted=self._settings.actors.max)
            hours = {"gpu_hours": self._gpu_hours, "cpu_hours": self._cpu_hours}
            rates = {name: self._rates(window) for name, window in WINDOWS_S.items()}
            return ProgressRecord(
                run=self.run,
                job=self._job,
                plan=self._plan,
                state=state,
                error=error,
                started_at=self._started_at,
                written_at=_now(),
                every_s=EVERY_S,
                seconds=self._clock() - self._began,
                units_planned=self._planned,
                units_done=self._done + self._units,
                units_here=self._units,
                samples_here=self._samples,
                samples_per_s={name: rate[0] if rate else None for name, rate in rates.items()},
                left_s=self._left_s(),
                busy_s=self._busy_s,
                actors_wanted=pool.wanted,
                actors_placed=0 if state in ENDED else pool.placed,
                retries=dict(sorted(self._retries.items())),
                uncharged=dict(sorted(self._uncharged.items())),
                worker_deaths=pool.deaths,
                preempted=pool.preempted,
                failures=dict(sorted(self._failures.items())),
                gpu_hours=self._gpu_hours,
                cpu_hours=self._cpu_hours,
                cost=cost(hours, self._prices),
                settings=self._settings,
            )

    def _fail(self, outcome: Outcome) -> None:
        assert outcome.failure is not None
        code = outcome.failure.code
        first = redact(outcome.failure.detail).strip().split("\n", 1)[0][:_LINE]
        known = self._failures.setdefault(code, {"count": 0, "first": first})
        known["count"] += 1
        self._unread -= outcome.task.unit is None
        self._step()
        self.meter.count("groundswell_units_total", 1, fate="failed")

    def _step(self) -> None:
        self._units += 1
        now = self._clock()
        if now - self._steps[-1][0] >= 1.0:
            self._steps.append((now, self._samples, self._units))
        while len(self._steps) > 2 and self._steps[1][0] < now - max(WINDOWS_S.values()):
            self._steps.popleft()

    def _rates(self, window_s: float) -> tuple[float, float] | None:
        """Samples and units per second over the window, or since work began when that is shorter."""
        if self._units == 0:
            return None
        now, base = self._clock(), self._steps[0]
        for step in self._steps:
            if step[0] > now - window_s:
                break
            base = step
        since = max(now - base[0], 1e-9)
        return (self._samples - base[1]) / since, (self._units - base[2]) / since

    def _left_s(self) -> float | None:
        """From the units' rate; a shard that was not read yet counts as the mean of those that were."""
        rates = self._rates(max(WINDOWS_S.values()))
        if rates is None or rates[1] == 0:
            return None
        mean = self._units_of_read / self._shards_read if self._shards_read else 1.0
        left = self._planned - self._done - self._units + self._unread * (mean - 1)
        return max(left, 0.0) / rates[1]

    def _bill(self) -> None:
        """Add what the placed actors hold since the last look."""
        now = self._clock()
        placed = self._pool.state().placed if self._pool else 0
        hours = placed * (now - self._billed) / 3600
        self._gpu_hours += hours * self._settings.gpus_per_actor
        self._cpu_hours += hours * self._settings.cpus_per_actor
        self._billed = now


@contextmanager
def told(
    progress: RunProgress, store: Store, stopping: Callable[[], bool], every_s: float = EVERY_S
) -> Iterator[Callable[[str], None]]:
    """Within, the run's record is written at once, every few seconds, and when it ends, with how it ended.

    The yielded function writes the last one for a process that is ended by force, with the reason.
    """
    ended = threading.Event()

    def write(state: State, error: str | None = None) -> None:
        try:
            data = progress.record(state, error).model_dump_json().encode() + b"\n"
            store.put(f"{FOLDER}/{progress.run}.json", data)
        except Exception as failure:  # nobody's evidence depends on it
            log.info("progress was not written: %s: %s", type(failure).__name__, failure)

    def beat() -> None:
        while not ended.wait(every_s):
            write("draining" if stopping() else "running" if progress.is_working else "starting")

    write("starting")
    thread = threading.Thread(target=beat, name="groundswell-progress", daemon=True)
    thread.start()
    state: State = "failed"
    error: str | None = None
    try:
        yield lambda why: write("interrupted", why)
        state = "interrupted" if stopping() else "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except BaseException as caught:
        error = redact(f"{type(caught).__name__}: {caught}").split("\n", 1)[0][:_LINE]
        raise
    finally:
        ended.set()
        thread.join()
        write(state, error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
