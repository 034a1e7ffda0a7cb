"""Stragglers: units that take long when nothing else is left run a second time. The copy that ends first counts.

Every dispatched task is settled exactly once and has at most one copy. Copies are safe because a commit has one
winner. A task that may have killed a worker is never copied.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from engine.task import Outcome, Retry, Task, Trust

SLOWER_THAN_MEDIAN = 2.0
_MAX_TIMES = 200


class Stragglers:
    """The tasks that are dispatched and not yet answered, and which of them have a copy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[tuple[str, bool], tuple[float, Task]] = {}
        self._copied: set[tuple[str, bool]] = set()
        self._times_s: list[float] = []

    def add(self, task: Task) -> None:
        """Add a task that was dispatched."""
        self._open[task.identity] = (self._clock(), task)

    def count_open(self) -> int:
        """Return the number of tasks without an answer. Copies do not count."""
        return len(self._open)

    def settle(self, outcome: Outcome, others: bool) -> bool:
        """Return whether this outcome is the task's, and close the task if it is.

        others: whether another worker still runs the task
        """
        identity = outcome.task.identity
        if identity not in self._open:
            return False  # the other copy ended first
        is_undecided = outcome.is_deferred or (
            outcome.failure is not None and outcome.failure.retry is not Retry.NEVER
        )
        if is_undecided and others:
            return False  # the other copy decides
        began, _ = self._open.pop(identity)
        self._copied.discard(identity)
        if outcome.failure is None and not outcome.is_deferred and outcome.task.unit is not None:
            self._times_s = [*self._times_s[1 - _MAX_TIMES :], self._clock() - began]
        return True

    def next_copy(self) -> Task | None:
        """Return the task that runs longest, if it takes much longer than others did and has no copy yet."""
        if not self._times_s:
            return None
        latest = self._clock() - SLOWER_THAN_MEDIAN * statistics.median(self._times_s)
        candidates = [
            (began, task)
            for identity, (began, task) in self._open.items()
            if identity not in self._copied and began < latest and task.unit and task.trust is Trust.TRUSTED
        ]
        if not candidates:
            return None
        _, task = min(candidates, key=lambda candidate: candidate[0])
        self._copied.add(task.identity)
        return task
