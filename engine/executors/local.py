"""The local executor: tasks run in this process, one after the other. For small jobs, tests and debuggers."""

from __future__ import annotations

from collections import deque

from engine.task import Outcome, PoolState, Task, WorkerSpec
from engine.worker.worker import Worker


class LocalPool:
    """A Pool without processes. It ignores `run.actors`."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._worker = Worker(spec)
        self._tasks: deque[Task] = deque()

    def capacity(self, remaining: int | None = None) -> int:
        """Return 1 if no task is in flight, else 0."""
        return 1 - len(self._tasks)

    def wait_for_capacity(self) -> None:
        """Return at once: there is capacity after each outcome."""

    def submit(self, task: Task) -> None:
        """Keep the task until `next_outcome` runs it."""
        self._tasks.append(task)

    def count_in_flight(self) -> int:
        """Return the number of submitted tasks that did not run yet."""
        return len(self._tasks)

    def next_outcome(self) -> Outcome:
        """Run the next task in this process."""
        return self._worker.run(self._tasks.popleft())

    def state(self) -> PoolState:
        """Return that the one worker is placed."""
        return PoolState(wanted=1, placed=1)

    def close(self) -> None:
        """Do nothing: there is no process to end."""
