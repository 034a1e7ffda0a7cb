"""Report the progress of a run every few seconds: state, rate, time left, cost, what failed and why.

A progress record is for people. It is overwritten and never read for truth, and a failure to write it does not affect
the run. It says when it was written, so a dead driver does not look alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from engine.reading.key_selection import CODE as NOT_SELECTED
from engine.redaction import redact
from engine.settings import RunSettings
from engine.storage.store import Store
from engine.task import Outcome, Pool, PoolState, Retry, Task
from engine.telemetry.metrics import Meter, NullMeter
from pipelines.label.prices import PriceSettings, compute_bill
from pipelines.label.progress.record import ENDED, FOLDER, FailureCount, ProgressRecord, State
from schemas.errors import stored_name

log = logging.getLogger(__name__)
EVERY_S = 5.0
WINDOWS_S = {"1m": 60.0, "10m": 600.0}
_MAX_LINE_CHARACTERS = 200


class RunProgress:
    """Count what happens in a run. It is an Observer: the driver's loop calls it, and a thread reads it."""

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
        self._started = self._billed_until = clock()
        self._started_at = _now()
        self._pool: Pool | None = None
        self.meter: Meter = NullMeter()
        self._planned = self._done = self._unread = 0
        self._units = self._samples = self._shards_read = self._units_of_read = 0
        self._steps: deque[tuple[float, int, int]] = deque([(self._started, 0, 0)])  # time, samples, units
        self._busy_s = self._gpu_hours = self._cpu_hours = 0.0
        self._retries: Counter[str] = Counter()
        self._uncharged: Counter[str] = Counter()
        self._failures: dict[str, FailureCount] = {}

    def begin(self, planned: int, done: int, unread: int) -> None:
        """Set the totals before the first task. unread: shards, which count as one unit each until they are read."""
        with self._lock:
            self._planned, self._done, self._unread = planned, done, unread

    def attach_pool(self, pool: Pool, meter: Meter | None = None) -> None:
        """Start to count the cost of the pool's workers, and the rates."""
        with self._lock:
            self._bill()
            self._pool, self.meter = pool, meter or NullMeter()
            self._steps = deque([(self._clock(), self._samples, self._units)])

    @property
    def has_pool(self) -> bool:
        """Whether a pool is attached."""
        return self._pool is not None

    def on_dispatch(self, task: Task) -> None:
        """See Observer."""

    def on_retry(self, outcome: Outcome) -> None:
        """See Observer."""
        assert outcome.failure is not None
        with self._lock:
            self._retries[outcome.failure.code] += 1
            if outcome.failure.retry is not Retry.CHARGED:
                self._uncharged[outcome.failure.code] += 1
        self.meter.count("groundswell_retries_total", 1, code=outcome.failure.code)

    def on_settle(self, outcome: Outcome) -> None:
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
        """Return the current state of the run."""
        with self._lock:
            self._bill()
            pool = self._pool.state() if self._pool else PoolState(wanted=self._settings.actors.max)
            bill = compute_bill({"gpu_hours": self._gpu_hours, "cpu_hours": self._cpu_hours}, self._prices)
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
                seconds=self._clock() - self._started,
                units_planned=self._planned,
                units_done=self._done + self._units,
                units_here=self._units,
                samples_here=self._samples,
                samples_per_s={name: rate[0] if rate else None for name, rate in rates.items()},
                left_s=self._estimate_left_s(),
                busy_s=self._busy_s,
                actors_wanted=pool.wanted,
                actors_placed=0 if state in ENDED else pool.placed,
                retries=dict(sorted(self._retries.items())),
                uncharged=dict(sorted(self._uncharged.items())),
                worker_deaths=pool.deaths,
                preempted=pool.preempted,
                failures={code: {**failures} for code, failures in sorted(self._failures.items())},
                gpu_hours=self._gpu_hours,
                cpu_hours=self._cpu_hours,
                cost=None if bill is None else {**bill},
                settings=self._settings,
            )

    def _fail(self, outcome: Outcome) -> None:
        assert outcome.failure is not None
        code = outcome.failure.code
        first = redact(outcome.failure.detail).strip().split("\n", 1)[0][:_MAX_LINE_CHARACTERS]
        self._failures.setdefault(code, {"count": 0, "first": first})["count"] += 1
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
        """Return samples and units per second over the window, or since work began if that is shorter."""
        if self._units == 0:
            return None
        now, base = self._clock(), self._steps[0]
        for step in self._steps:
            if step[0] > now - window_s:
                break
            base = step
        since = max(now - base[0], 1e-9)
        return (self._samples - base[1]) / since, (self._units - base[2]) / since

    def _estimate_left_s(self) -> float | None:
        """Estimate the time left from the rate of units. An unread shard counts as the mean of the read ones."""
        rates = self._rates(max(WINDOWS_S.values()))
        if rates is None or rates[1] == 0:
            return None
        mean = self._units_of_read / self._shards_read if self._shards_read else 1.0
        left = self._planned - self._done - self._units + self._unread * (mean - 1)
        return max(left, 0.0) / rates[1]

    def _bill(self) -> None:
        """Add the hours of the placed actors since the last call."""
        now = self._clock()
        placed = self._pool.state().placed if self._pool else 0
        hours = placed * (now - self._billed_until) / 3600
        self._gpu_hours += hours * self._settings.gpus_per_actor
        self._cpu_hours += hours * self._settings.cpus_per_actor
        self._billed_until = now


@contextmanager
def write_progress(
    progress: RunProgress, store: Store, is_draining: Callable[[], bool], every_s: float = EVERY_S
) -> Iterator[Callable[[str], None]]:
    """Write the run's record at once, every few seconds within the block, and at its end with how it ended.

    The yielded function writes the last record with a reason, for a process that is about to be killed.
    """
    has_ended = threading.Event()

    def write(state: State, error: str | None = None) -> None:
        try:
            data = progress.record(state, error).model_dump_json().encode() + b"\n"
            store.put(f"{FOLDER}/{progress.run}.json", data)
        except Exception as failure:  # no evidence depends on it
            log.info("progress was not written: %s: %s", type(failure).__name__, failure)

    def write_periodically() -> None:
        while not has_ended.wait(every_s):
            write("draining" if is_draining() else "running" if progress.has_pool else "starting")

    write("starting")
    thread = threading.Thread(target=write_periodically, name="groundswell-progress", daemon=True)
    thread.start()
    state: State = "failed"
    error: str | None = None
    try:
        yield lambda why: write("interrupted", why)
        state = "interrupted" if is_draining() else "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except BaseException as caught:
        error = redact(f"{stored_name(caught)}: {caught}").split("\n", 1)[0][:_MAX_LINE_CHARACTERS]
        raise
    finally:
        has_ended.set()
        thread.join()
        write(state, error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
