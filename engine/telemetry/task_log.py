"""The log of a worker's tasks: log lines with run, unit and attempt, counters, and busy time.

Nothing is decided by the log, and it has no key, caption or URL.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from engine.task import Outcome, Task
from engine.telemetry import logs
from engine.telemetry.metrics import Meter, NullMeter, TimedLabeler, count_entry
from schemas.labeler import Labeler

log = logging.getLogger(__name__)


class TaskLog:
    """The log of one worker. Each of its threads logs its own task."""

    def __init__(self, run_name: str, meter: Meter | None = None) -> None:
        self._run_name, self._meter = run_name, meter or NullMeter()
        self._thread = threading.local()

    def task_context(self, task: Task) -> AbstractContextManager[None]:
        """Name the task in all log lines inside the block."""
        self._thread.busy_s = None
        return logs.log_context(run=self._run_name, unit=task.name, attempt=task.attempt)

    def time_labeler(self, labeler: Labeler) -> TimedLabeler:
        """Wrap a labeler so that its batches are timed."""
        return TimedLabeler(labeler, self._meter)

    @contextmanager
    def measure_busy(self) -> Iterator[None]:
        """Add the time of the block to the task's work on samples, which is without loading the teacher and waiting."""
        began = time.perf_counter()
        yield
        self._thread.busy_s = (self._thread.busy_s or 0.0) + time.perf_counter() - began

    def log_outcome(self, outcome: Outcome) -> Outcome:
        """Log and count how the task ended. Return the outcome, a committed unit's with the busy time."""
        busy_s: float | None = self._thread.busy_s
        if outcome.failure is not None:
            log.info("failed with %s", outcome.failure.code)
        elif outcome.facts is not None:
            log.info("read a shard: %d samples, %d bytes", outcome.facts.samples, outcome.facts.size_bytes)
        elif outcome.entry is not None and busy_s is not None:  # otherwise an earlier run had committed it
            samples, regions = outcome.entry.counts.samples_in, outcome.entry.regions
            log.info("committed: %d samples, %d regions, %.1f s", samples, regions, busy_s)
            self._meter.observe("groundswell_unit_seconds", busy_s)
            count_entry(self._meter, outcome.entry)
        return outcome.model_copy(update={"busy_s": busy_s if outcome.entry is not None else None})
