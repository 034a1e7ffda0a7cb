"""The driver's loop: dispatch tasks while workers have capacity, retry within bounds, stop cleanly when asked.

Every dispatched task ends in exactly one outcome that the caller sees. A task that may have killed its worker is
dispatched again to run in sandbox processes.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from engine.driver.observer import NullObserver, Observer
from engine.task import WORKER_DIED, Outcome, Pool, Retry, Task, Trust
from schemas import errors

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 3
MAX_DEATHS = (
    6  # of workers with an isolated task: such a worker has no sample in memory, so a death is an accident
)
_Cause = tuple[tuple[str, bool], bool]  # the task's identity, and whether its worker died


class Work(Protocol):
    """The driver's side of a stage: its source of tasks, which also takes their outcomes."""

    def next_task(self) -> Task | None:
        """Return the next task, or None if there is none for now."""
        ...

    def count_remaining(self) -> int:
        """Return an upper bound on the tasks that are known and not yet dispatched."""
        ...

    def settle(self, outcome: Outcome) -> None:
        """Accept the final outcome of a task. New tasks may follow from it."""
        ...


def run_tasks(
    pool: Pool,
    work: Work,
    stopping: Callable[[], bool] = lambda: False,
    observer: Observer = NullObserver(),  # noqa: B008
) -> None:
    """Run all tasks of `work` on the pool.

    stopping: once true, no task is dispatched any more and the running ones are finished; only then may work remain
    raises:   the error of `schemas.errors` that a worker named as ending the run
    """
    attempts: Counter[_Cause] = Counter()
    retries: deque[Task] = deque()
    while True:
        # an idle pool can lack capacity too, while all its workers are being replaced
        while not stopping() and (
            pool.capacity(len(retries) + work.count_remaining()) > 0 or not pool.count_in_flight()
        ):
            task = retries.popleft() if retries else work.next_task()
            if task is None:
                break
            pool.wait_for_capacity()
            if pool.capacity() <= 0:  # the run was asked to stop during the wait
                retries.appendleft(task)
                break
            pool.submit(task)
            observer.on_dispatch(task)
        if not pool.count_in_flight():
            return
        outcome = pool.next_outcome()
        _raise_abort(outcome)
        retry = _make_retry(outcome, attempts)
        if retry is None:
            work.settle(outcome)
            observer.on_settle(outcome)
        else:
            retries.append(retry)
            observer.on_retry(outcome)


def _make_retry(outcome: Outcome, attempts: Counter[_Cause]) -> Task | None:
    """Return the task to dispatch again, or None if the outcome is final."""
    failure, task = outcome.failure, outcome.task
    if failure is None or failure.retry is Retry.NEVER:
        return None
    died, is_charged = failure.code == WORKER_DIED, failure.retry is Retry.CHARGED
    # attempts to read a shard do not count for its first unit, nor deaths for a store that fails afterwards
    cause = task.identity, died
    attempts[cause] += is_charged
    limit = MAX_DEATHS if died else MAX_ATTEMPTS
    if attempts[cause] >= limit:
        return None
    cost = f"attempt {attempts[cause]} of {limit}" if is_charged else "handed over, not charged"
    log.warning("%s: %s (%s)", task.name, failure.detail, cost)
    trust = task.trust
    if died and is_charged:
        trust = Trust.ISOLATED
    elif failure.retry is Retry.SUSPECT and trust is Trust.TRUSTED:
        trust = Trust.SUSPECT
    return task.model_copy(update={"attempt": task.attempt + 1, "trust": trust})


def _raise_abort(outcome: Outcome) -> None:
    if outcome.abort is None:
        return
    kind = getattr(errors, outcome.abort.error, errors.GroundswellError)
    is_known = isinstance(kind, type) and issubclass(kind, errors.GroundswellError)
    raise (kind if is_known else errors.GroundswellError)(outcome.abort.message)
