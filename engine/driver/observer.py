"""Observers of a run on the driver: they learn of every task that is dispatched, retried or settled.

An observer decides nothing. One that does nothing changes no outcome.
"""

from __future__ import annotations

from typing import Protocol

from engine.task import Outcome, Task


class Observer(Protocol):
    """Callbacks of the driver's loop. They run in its thread."""

    def on_dispatch(self, task: Task) -> None:
        """Note that a worker has the task."""
        ...

    def on_retry(self, outcome: Outcome) -> None:
        """Note that a task failed and is dispatched again."""
        ...

    def on_settle(self, outcome: Outcome) -> None:
        """Note the final outcome of a task."""
        ...


class NullObserver:
    """An observer that does nothing."""

    def on_dispatch(self, task: Task) -> None:
        """Ignore the task."""

    def on_retry(self, outcome: Outcome) -> None:
        """Ignore the outcome."""

    def on_settle(self, outcome: Outcome) -> None:
        """Ignore the outcome."""
