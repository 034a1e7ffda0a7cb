"""The driver's loop: hand out tasks while workers have room, retry within bounds, stop cleanly when asked.

Promise: every task that was handed out ends in exactly one outcome that the caller sees. One that may have killed its
worker is handed out again to be done in disposable processes.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from engine.driver.observer import NullObserver, Observer
from engine.task import WORKER_DIED, Outcome, Pool, Task
from schemas import errors

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 3
_Cause = tuple[tuple[str, bool], bool]  # a task's identity, and whether its worker died
MAX_DEATHS = 6  # of workers that held an isolated task: they hold no sample, so these are accidents


class Work(Protocol):
    """Where tasks come from and outcomes go."""

    def next_task(self) -> Task | None:
        """The next task, or None when there is none for now."""
        ...

    def count_remaining(self) -> int:
        """At most so many tasks are known that were not given out yet."""
        ...

    def settle(self, outcome: Outcome) -> None:
        """Take a task's final outcome; new tasks may follow from it."""
        ...


def drive(
    pool: Pool,
    work: Work,
    stopping: Callable[[], bool] = lambda: False,
    observer: Observer = NullObserver(),  # noqa: B008
) -> None:
    """Run all work. When `stopping` turns true, running tasks are finished and no more are handed out.

    Nothing is left undone unless `stopping` says so.
    raises: the error of `schemas.errors` that a worker named as ending the run
    """
    attempts: Counter[_Cause] = Counter()
    again: deque[Task] = deque()
    while True:
        # an idle pool may be without room too, while all its workers are being replaced
        while not stopping() and (
            pool.capacity(len(again) + work.count_remaining()) > 0 or not pool.count_in_flight()
        ):
            task = again.popleft() if again else work.next_task()
            if task is None:
                break
            pool.wait_for_capacity()
            if pool.capacity() <= 0:  # asked to stop while it waited
                again.appendleft(task)
                break
            pool.submit(task)
            observer.on_dispatch(task)
        if not pool.count_in_flight():
            return
        outcome = pool.next_outcome()
        _raise_if_stop(outcome)
        retry = _next_try(outcome, attempts)
        if retry is None:
            work.settle(outcome)
            observer.on_settle(outcome)
        else:
            again.append(retry)
            observer.on_retry(outcome)


def _next_try(outcome: Outcome, attempts: Counter[_Cause]) -> Task | None:
    """The task as it is to be tried again, None when this outcome is final."""
    failure, task = outcome.failure, outcome.task
    if failure is None or not failure.retryable:
        return None
    died = failure.code == WORKER_DIED
    # what reading a shard cost is not charged to its first unit, nor deaths to a store that fails after them
    of = task.identity, died
    attempts[of] += failure.charged
    most = MAX_DEATHS if died else MAX_ATTEMPTS
    if attempts[of] >= most:
        return None
    cost = f"attempt {attempts[of]} of {most}" if failure.charged else "handed over, not charged"
    log.warning("%s: %s (%s)", task.name, failure.detail, cost)
    isolate = task.isolate or (died and failure.charged)
    flags = {"isolate": isolate, "suspect": task.suspect or failure.suspect}
    return task.model_copy(update={"attempt": task.attempt + 1, **flags})


def _raise_if_stop(outcome: Outcome) -> None:
    if outcome.stop is None:
        return
    kind = getattr(errors, outcome.stop.error, errors.GroundswellError)
    known = isinstance(kind, type) and issubclass(kind, errors.GroundswellError)
    raise (kind if known else errors.GroundswellError)(outcome.stop.message)
