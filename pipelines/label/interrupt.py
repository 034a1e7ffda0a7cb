"""Ctrl-C and SIGTERM while labelling or training: once finishes what runs, twice stops at once. No file is torn.

A SIGTERM comes from a machine that will not wait: after a grace it counts as the second signal.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def stop_when_asked(grace_s: float, now: str = "finishing the running units") -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT or SIGTERM only makes the yielded function true; the second raises KeyboardInterrupt.

    grace_s: so long after a SIGTERM, KeyboardInterrupt is raised without a second one
    now:     what the first signal begins, for the log
    Outside the main thread, where Python delivers no signals, it never turns true.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    timer = threading.Timer(grace_s, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    on_signal = _Signals(asked, timer, now)
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Signals:
    """What a signal does: the first one is told, the second one raises.

    While the first is being told, a second one waits: raised within a logger that holds its lock, KeyboardInterrupt
    could leave the lock held, and every other thread that logs would wait for it for ever.
    """

    def __init__(self, asked: threading.Event, timer: threading.Timer, now: str) -> None:
        self._asked, self._timer, self._now = asked, timer, now
        self._telling = self._again = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            self._again = True
        else:
            self._asked.set()
            self._tell(number)
        if self._again and not self._telling:
            raise KeyboardInterrupt

    def _tell(self, number: int) -> None:
        self._telling = True
        if number == signal.SIGTERM:
            self._timer.start()
        try:
            log.warning("%s; a second signal stops at once, the same command continues", self._now)
        finally:
            self._telling = False
