"""The executor of one: tasks run in this process, one after the other. For small jobs, tests and debuggers."""

from __future__ import annotations

from collections import deque

from engine.task import Outcome, PoolState, Task, WorkerSpec
from engine.worker.worker import Worker


class LocalPool:
    """A Pool without processes. `run.actors` has no meaning here."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._worker = Worker(spec)
        self._waiting: deque[Task] = deque()

    def capacity(self, remaining: int | None = None) -> int:
        """See Pool."""
        return 1 - len(self._waiting)

    def wait_for_capacity(self) -> None:
        """See Pool. There always is, once the outcome before was taken."""

    def submit(self, task: Task) -> None:
        """See Pool."""
        self._waiting.append(task)

    def count_in_flight(self) -> int:
        """See Pool."""
        return len(self._waiting)

    def next_outcome(self) -> Outcome:
        """See Pool."""
        return self._worker.run(self._waiting.popleft())

    def state(self) -> PoolState:
        """See Pool."""
        return PoolState(wanted=1, placed=1)

    def close(self) -> None:
        """See Pool."""
