"""When the next request may begin: a rate limit, pauses that a server asks for, and waits between tries."""

from __future__ import annotations

import math
import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

FIRST_WAIT_S, MAX_WAIT_S = 1.0, 30.0


class WaitClock(Protocol):
    """Time as a labeler sees it. A test has a clock of its own."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait, at most until `stop` is set."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait, at most until `stop` is set."""
        if seconds > 0:
            stop.wait(seconds)


class RequestPacer:
    """Gives each request of a process its turn, at equal distances."""

    def __init__(self, per_minute: float | None, clock: WaitClock) -> None:
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._clock, self._lock = clock, threading.Lock()
        self._next_s = self._resume_s = -math.inf
        """The next free turn, and the end of the last pause."""

    def wait_turn(self, stop: threading.Event) -> None:
        """Wait for the turn of one request. A turn that falls into a pause is exchanged for a later one."""
        while True:
            with self._lock:
                now = self._clock.now_s()
                turn = max(now, self._next_s)
                self._next_s = turn + self._interval_s
            self._clock.wait(turn - now, stop)
            with self._lock:
                if turn >= self._resume_s or stop.is_set():
                    return

    def pause(self, seconds: float) -> None:
        """Begin no request for a time, neither those that wait for their turn."""
        with self._lock:
            self._resume_s = max(self._resume_s, self._clock.now_s() + seconds)
            self._next_s = max(self._next_s, self._resume_s)


def choose_wait_s(tries: int, asked_s: float) -> float:
    """Return the time to wait after some tries: it doubles, is drawn from its upper half, and is at least `asked_s`."""
    longest = min(FIRST_WAIT_S * 2.0 ** (tries - 1), MAX_WAIT_S)
    return max(asked_s, longest * (1 + random.random()) / 2)


def parse_retry_after(value: str | None) -> float:
    """Return the seconds of a header Retry-After, a number or a date; 0 for none and for anything else."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
