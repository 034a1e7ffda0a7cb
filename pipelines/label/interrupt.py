"""Ctrl-C while labelling: once finishes what runs, twice stops at once. Neither leaves a torn file."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def stop_on_sigint() -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT only makes the yielded function true; the second raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, it never turns true.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log.warning("finishing the running units; Ctrl-C again stops at once, the same command continues")

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
