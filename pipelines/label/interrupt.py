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

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.set()
        for again in before:
            signal.signal(again, signal.default_int_handler)
        if number == signal.SIGTERM:
            timer.start()
        log.warning("%s; a second signal stops at once, the same command continues", now)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
