"""The driver's loop: hand out tasks while workers have room, retry within bounds, stop cleanly when asked.

Promise: every task that was handed out ends in exactly one outcome that the caller sees.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from engine.work.observing import Observer, Unwatched
from engine.work.tasks import Outcome, Pool, Task
from schemas import errors

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 3


class Work(Protocol):
    """Where tasks come from and outcomes go."""

    def next_task(self) -> Task | None:
        """The next task, or None when there is none for now."""
        ...

    def settle(self, outcome: Outcome) -> None:
        """Take a task's final outcome; new tasks may follow from it."""
        ...


def drive(
    pool: Pool,
    work: Work,
    stopping: Callable[[], bool] = lambda: False,
    observer: Observer = Unwatched(),  # noqa: B008
) -> None:
    """Run all work. When `stopping` turns true, running tasks are finished and no more are handed out.

    Nothing is left undone unless `stopping` says so.
    raises: the error of `schemas.errors` that a worker named as ending the run
    """
    attempts: Counter[tuple[str, bool]] = Counter()
    again: deque[Task] = deque()
    while True:
        # an idle pool may be without room too, while all its workers are being replaced
        while not stopping() and (pool.capacity() > 0 or not pool.busy()):
            task = again.popleft() if again else work.next_task()
            if task is None:
                break
            pool.wait_for_room()
            pool.submit(task)
            observer.handed_out(task)
        if not pool.busy():
            return
        outcome = pool.next_outcome()
        _raise_if_stop(outcome)
        if _to_be_retried(outcome, attempts):
            again.append(outcome.task.model_copy(update={"attempt": outcome.task.attempt + 1}))
            observer.retried(outcome)
        else:
            work.settle(outcome)
            observer.settled(outcome)


def _to_be_retried(outcome: Outcome, attempts: Counter[tuple[str, bool]]) -> bool:
    failure = outcome.failure
    if failure is None or not failure.retryable:
        return False
    # a shard that is to be read goes by its first unit's name; what it cost is not that unit's
    of = (outcome.task.name, outcome.task.unit is None)
    attempts[of] += failure.charged
    tried = attempts[of]
    if tried >= MAX_ATTEMPTS:
        return False
    log.warning("%s: %s (attempt %d of %d)", outcome.task.name, failure.detail, tried, MAX_ATTEMPTS)
    return True


def _raise_if_stop(outcome: Outcome) -> None:
    if outcome.stop is None:
        return
    kind = getattr(errors, outcome.stop.error, errors.GroundswellError)
    known = isinstance(kind, type) and issubclass(kind, errors.GroundswellError)
    raise (kind if known else errors.GroundswellError)(outcome.stop.message)
