"""Who watches a run on the driver: told of every task that is handed out, tried again or ended.

Promise: watching decides nothing; an observer that does nothing changes no outcome.
"""

from __future__ import annotations

from typing import Protocol

from engine.task import Outcome, Task


class Observer(Protocol):
    """Is told what the driver's loop does, in its thread."""

    def on_dispatch(self, task: Task) -> None:
        """A worker has the task."""
        ...

    def on_retry(self, outcome: Outcome) -> None:
        """A task failed and is tried again."""
        ...

    def on_settle(self, outcome: Outcome) -> None:
        """A task ended for good."""
        ...


class NullObserver:
    """The observer that nobody asked for."""

    def on_dispatch(self, task: Task) -> None:
        """See Observer."""

    def on_retry(self, outcome: Outcome) -> None:
        """See Observer."""

    def on_settle(self, outcome: Outcome) -> None:
        """See Observer."""
