"""Ctrl-C and SIGTERM while labelling or training: once finishes what runs, twice stops at once. No file is torn.

A SIGTERM comes from a machine that will not wait: after a grace it counts as the second signal. Promise: MARGIN_S after
that the process has left the block, or it ends with exit code 130, whatever its main thread is doing. Python runs
signal handlers in the main thread only, and that may sit in C++ code (Ray's, a model's) which does not return.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import ClassVar, NoReturn

log = logging.getLogger(__name__)
INTERRUPTED = 130
TRAIN_GRACE_S = 110.0  # commonly given by a machine that is taken away; a step and a checkpoint must fit in
MARGIN_S = 4.0  # from "stop at once" to the end of the process, at most
_LAST_WORDS_S = 1.0  # of the margin, for the record of how the run ended
_LEAVE_S = MARGIN_S - _LAST_WORDS_S
_COMMAND_ENDS_S = 10.0  # a command that has nothing to finish, after SIGTERM
_LOOK_S = 0.5
_SETTLE_S = 0.1  # `timeout` signals its child and then its group, which is one request
_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Whether a signal asked to stop; true from the first on."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.last_words: Callable[[str], None] = lambda why: None  # told why before the process is ended

    def __call__(self) -> bool:
        return self.asked.is_set()


@contextmanager
def stop_when_asked(grace_s: float, now: str = "finishing the running units") -> Iterator[Stopping]:
    """Within, the first SIGINT or SIGTERM only makes the yielded function true; the second raises KeyboardInterrupt.

    grace_s: so long after a SIGTERM, KeyboardInterrupt is raised without a second one
    now:     what the first signal begins, for the log
    Outside the main thread, where Python delivers no signals, it never turns true.
    """
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    on_signal = _Signals(stopping.asked, now)
    before = {number: signal.signal(number, on_signal) for number in _NUMBERS}
    try:
        watch = _Watch(stopping, grace_s)
        watch.begin()
        try:
            yield stopping
        finally:
            watch.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_training_when_asked() -> AbstractContextManager[Stopping]:
    """`stop_when_asked` for trainings, which write a checkpoint after the step at hand."""
    return stop_when_asked(TRAIN_GRACE_S, "writing a checkpoint after this step")


@contextmanager
def end_when_asked() -> Iterator[None]:
    """For a whole command: SIGTERM raises KeyboardInterrupt, as SIGINT does, and either ends the process with 130.

    What `stop_when_asked` began within is watched until the process has ended.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    watch = _Watch(Stopping(), end_s=_COMMAND_ENDS_S)
    watch.begin()
    try:
        yield
    except KeyboardInterrupt:
        os.write(2, b"interrupted\n")
        _leave()
    except SystemExit as end:
        if end.code == INTERRUPTED or (watch.heard and end.code == 1):  # click's answer to KeyboardInterrupt
            _leave()
        raise


def _leave() -> NoReturn:
    """End the process with 130, without the seconds that Python takes to unload what it loaded: nobody watches them."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(INTERRUPTED)


class _Signals:
    """What a signal does: the first one is told, the second one raises.

    While the first is being told, a second one waits: raised within a logger that holds its lock, KeyboardInterrupt
    could leave the lock held, and every other thread that logs would wait for it for ever.
    """

    def __init__(self, asked: threading.Event, now: str) -> None:
        self._asked, self._now = asked, now
        self._telling = self._again = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._asked.is_set():
            self._asked.set()
            self._tell(number)
        elif not self._telling or number != signal.SIGTERM:
            self._again = True
        if self._again and not self._telling:
            raise KeyboardInterrupt

    def _tell(self, number: int) -> None:
        self._telling = True
        try:
            log.warning("%s; a second signal stops at once, the same command continues", self._now)
            if number == signal.SIGTERM:
                time.sleep(_SETTLE_S)
        finally:
            self._telling = False


class _Watch:
    """A thread that learns of the process's signals at once, keeps time, and ends the process when time is up.

    Begun in the main thread. Of nested ones the innermost listens; at its end it leaves its deadline to the next.
    """

    _begun: ClassVar[list[_Watch]] = []

    def __init__(self, stopping: Stopping, grace_s: float = math.inf, end_s: float = math.inf) -> None:
        """grace_s: from a SIGTERM to KeyboardInterrupt; end_s: from a SIGTERM to the end of the process."""
        self._stopping, self._grace_s, self._end_s = stopping, grace_s, end_s
        self._interrupt_at = self._end_at = math.inf
        self._first_at, self._why, self._is_over = 0.0, "", False
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._mouth, False)
        self._before = -1
        self._thread = threading.Thread(target=self._run, name="groundswell-signals", daemon=True)

    @property
    def heard(self) -> bool:
        """Whether a signal came."""
        return bool(self._why)

    def begin(self) -> None:
        """Listen from now on."""
        self._before = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        self._begun.append(self)
        self._thread.start()

    def end(self) -> None:
        """Stop listening."""
        self._begun.remove(self)
        signal.set_wakeup_fd(self._before, warn_on_full_buffer=False)
        self._is_over = True
        os.write(self._mouth, b"\0")
        self._thread.join()
        os.close(self._ear)
        os.close(self._mouth)
        if self._begun:
            self._begun[-1].end_by(min(self._end_at, self._interrupt_at + _LEAVE_S), self._why)

    def end_by(self, moment: float, why: str) -> None:
        """End the process at that moment of the monotonic clock, unless it has ended."""
        if moment < self._end_at:
            self._end_at, self._why = moment, why
            os.write(self._mouth, b"\0")  # the thread may be waiting without a limit

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        while not self._is_over:
            if poll.poll(self._wait_ms()):
                for number in os.read(self._ear, 64):
                    if number in _NUMBERS:
                        self._hear(signal.Signals(number), time.monotonic())
            self._look(time.monotonic())

    def _wait_ms(self) -> float | None:
        if not self.heard:
            return None
        left_s = min(self._interrupt_at, self._end_at) - time.monotonic()
        return math.ceil(1000 * max(0.0, min(left_s, _LOOK_S)))

    def _hear(self, number: signal.Signals, now: float) -> None:
        if not self.heard:
            self._first_at, self._why = now, f"{number.name} came"
            if number == signal.SIGTERM:
                self._interrupt_at, self._end_at = now + self._grace_s, now + self._end_s
        elif number != signal.SIGTERM or now - self._first_at > _SETTLE_S:
            self.end_by(now + _LEAVE_S, f"{self._why}, then {number.name}")

    def _look(self, now: float) -> None:
        if not self.heard or self._is_over:
            return
        drains = not math.isinf(self._grace_s) and math.isinf(self._end_at)
        if drains and (now >= self._interrupt_at or _ray_is_dead()):
            late = now >= self._interrupt_at
            self._why += f", and the grace of {self._grace_s:g} s passed" if late else ", and Ray is dead"
            self._interrupt_at, self._end_at = math.inf, now + _LEAVE_S
            main = threading.main_thread().ident
            assert main is not None, "it runs"
            signal.pthread_kill(main, signal.SIGINT)
        if now >= self._end_at:
            self._end_process()

    def _end_process(self) -> None:
        why = f"{self._why}; the process did not come to its end and was ended by force"
        words = threading.Thread(target=self._stopping.last_words, args=(why,), daemon=True)
        words.start()
        words.join(_LAST_WORDS_S)
        os.write(2, f"interrupted: {why}; the same command continues\n".encode())
        os._exit(INTERRUPTED)


def _ray_is_dead() -> bool:
    """Whether this process started a Ray cluster that has died, so that nothing can be finished on it."""
    ours = sys.modules.get("engine.executors.ray_processes")  # importing it takes seconds
    return ours is not None and bool(ours.own_cluster_is_dead())
