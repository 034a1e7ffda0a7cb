"""Turns of the units that share a worker: one unit is prepared while another one is with the teacher."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from engine.worker.errors import RecalledError

_POLL_S = 0.2


class Turns:
    """Two places of a worker, each for one unit at a time: preparation, then the teacher."""

    def __init__(self) -> None:
        self._preparing, self._teaching = threading.Semaphore(), threading.Semaphore()
        self._recalled = threading.Event()

    def recall(self) -> None:
        """Let no unit enter a place any more. Units inside go on."""
        self._recalled.set()

    def prepare(self) -> AbstractContextManager[Callable[[], None]]:
        """Wait for the preparation place and hold it until the block ends or the yielded function is called.

        raises: RecalledError after `recall`
        """
        return self._hold(self._preparing)

    def label_turn(self) -> AbstractContextManager[Callable[[], None]]:
        """Wait for the teacher and hold it, as `prepare` does."""
        return self._hold(self._teaching)

    @contextmanager
    def _hold(self, place: threading.Semaphore) -> Iterator[Callable[[], None]]:
        while not place.acquire(timeout=_POLL_S):
            if self._recalled.is_set():
                raise RecalledError
        held = [place]

        def leave() -> None:
            if held:
                held.pop().release()

        try:
            if self._recalled.is_set():
                raise RecalledError
            yield leave
        finally:
            leave()
