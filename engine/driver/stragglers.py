"""Units that take long when nothing else is left: tried a second time, and settled by whichever ends first.

Promise: every task that was handed out is settled exactly once, and at most one copy of it is made. Safe, since a
commit has one winner; a task that may have killed a worker is never copied.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from engine.task import Outcome, Task

SLOWER_THAN_MEDIAN = 2.0
_REMEMBERED = 200


class Stragglers:
    """What is handed out and not answered, and which of it has a copy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[tuple[str, bool], tuple[float, Task]] = {}
        self._copied: set[tuple[str, bool]] = set()
        self._took_s: list[float] = []

    def handed_out(self, task: Task) -> None:
        """A task was given to a worker."""
        self._open[task.identity] = (self._clock(), task)

    def unanswered(self) -> int:
        """Tasks that nobody has answered yet; copies do not count."""
        return len(self._open)

    def settles(self, outcome: Outcome, others: bool) -> bool:
        """Whether this outcome is the task's. others: whether another worker still has the task"""
        identity = outcome.task.identity
        if identity not in self._open:
            return False  # of a copy that came second
        undecided = outcome.put_back or (outcome.failure is not None and outcome.failure.retryable)
        if undecided and others:
            return False  # the other one decides
        began, _ = self._open.pop(identity)
        self._copied.discard(identity)
        if outcome.failure is None and not outcome.put_back and outcome.task.unit is not None:
            self._took_s = [*self._took_s[1 - _REMEMBERED :], self._clock() - began]
        return True

    def next_copy(self) -> Task | None:
        """The task that runs longest, if it runs much longer than others did and has no copy yet."""
        if not self._took_s:
            return None
        late = self._clock() - SLOWER_THAN_MEDIAN * statistics.median(self._took_s)
        candidates = [
            (began, task)
            for identity, (began, task) in self._open.items()
            if identity not in self._copied
            and began < late
            and task.unit
            and not task.isolate
            and not task.suspect
        ]
        if not candidates:
            return None
        _, task = min(candidates, key=lambda found: found[0])
        self._copied.add(task.identity)
        return task
