"""Handle Ctrl-C and SIGTERM during labeling and training: the first signal drains, the second stops at once.

No file is ever half-written. A machine that sends SIGTERM will not wait, so after a grace period it counts as the
second signal. MARGIN_S later at the latest the process has left the block, or it ends with exit code 130, whatever its
main thread is doing. Python runs signal handlers in the main thread only, which may be in C++ code (Ray's, a model's)
that does not return. Therefore a thread watches as well.
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

from engine import executors

log = logging.getLogger(__name__)
INTERRUPTED = 130
TRAIN_GRACE_S = 110.0  # the usual notice before a machine is taken away; a step and a checkpoint must fit in
MARGIN_S = 4.0  # from "stop at once" to the end of the process, at most
_REPORT_S = 1.0  # of the margin, to record how the run ended
_LEAVE_S = MARGIN_S - _REPORT_S
_COMMAND_ENDS_S = 10.0  # from SIGTERM to the end of a command that has nothing to finish
_POLL_S = 0.5
_SETTLE_S = 0.1  # `timeout` signals its child and then its group, which is one request
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_RAY_PROCESSES = f"{executors.__name__}.ray_processes"


class StopRequest:
    """Whether a signal asked to stop. Call it; it is true from the first signal on."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.before_forced_exit: Callable[[str], None] = lambda why: None
        """Called with the reason before the process is ended by force."""

    def __call__(self) -> bool:
        return self.event.is_set()


@contextmanager
def drain_on_signal(grace_s: float, action: str = "finishing the running units") -> Iterator[StopRequest]:
    """Within the block, the first SIGINT or SIGTERM only sets the yielded request. The second one interrupts.

    grace_s: this long after a SIGTERM, KeyboardInterrupt is raised without a second signal
    action:  what the first signal starts, for the log
    Outside the main thread, where Python delivers no signals, the request is never set.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handler = _SignalHandler(request.event, action)
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        watch = _SignalWatch(request, grace_s)
        watch.begin()
        try:
            yield request
        finally:
            watch.end()
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def drain_training_on_signal() -> AbstractContextManager[StopRequest]:
    """Return `drain_on_signal` for a training, which writes a checkpoint after the current step."""
    return drain_on_signal(TRAIN_GRACE_S, "writing a checkpoint after this step")


@contextmanager
def end_on_signal() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt in a whole command, and end the process with exit code 130.

    The deadline of a `drain_on_signal` within the block still holds after that block.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    watch = _SignalWatch(StopRequest(), end_s=_COMMAND_ENDS_S)
    watch.begin()
    try:
        yield
    except KeyboardInterrupt:
        os.write(2, b"interrupted\n")
        _exit_at_once()
    except SystemExit as end:
        # click exits 1 on KeyboardInterrupt
        if end.code == INTERRUPTED or (watch.is_signaled and end.code == 1):
            _exit_at_once()
        raise


def _exit_at_once() -> NoReturn:
    """End the process with 130. Skip Python's unloading of modules, which takes seconds that nothing watches."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(INTERRUPTED)


class _SignalHandler:
    """Handle signals in the main thread: the first one is logged, the second one raises KeyboardInterrupt.

    A second signal waits until the first one is logged. If it raised within a logger that has its lock, the lock could
    stay locked, and every other thread that logs would wait forever.
    """

    def __init__(self, event: threading.Event, action: str) -> None:
        self._event, self._action = event, action
        self._is_logging = self._is_second = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._event.is_set():
            self._event.set()
            self._log(number)
        elif not self._is_logging or number != signal.SIGTERM:
            self._is_second = True
        if self._is_second and not self._is_logging:
            raise KeyboardInterrupt

    def _log(self, number: int) -> None:
        self._is_logging = True
        try:
            log.warning("%s; a second signal stops at once, the same command continues", self._action)
            if number == signal.SIGTERM:
                time.sleep(_SETTLE_S)
        finally:
            self._is_logging = False


class _SignalWatch:
    """A thread that sees the signals of the process at once, and ends the process when its time is up.

    Begin it in the main thread. Of nested watches the innermost one reads the signals. When it ends, it passes its
    deadline to the next one.
    """

    _active: ClassVar[list[_SignalWatch]] = []

    def __init__(self, request: StopRequest, grace_s: float = math.inf, end_s: float = math.inf) -> None:
        """grace_s: from a SIGTERM to KeyboardInterrupt; end_s: from a SIGTERM to the end of the process."""
        self._request, self._grace_s, self._end_s = request, grace_s, end_s
        self._interrupt_at = self._end_at = math.inf
        self._first_at, self._why, self._is_over = 0.0, "", False
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._previous_fd = -1
        self._thread = threading.Thread(target=self._run, name="groundswell-signals", daemon=True)

    @property
    def is_signaled(self) -> bool:
        """Whether a signal came."""
        return bool(self._why)

    def begin(self) -> None:
        """Start to watch."""
        self._previous_fd = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._active.append(self)
        self._thread.start()

    def end(self) -> None:
        """Stop watching."""
        self._active.remove(self)
        signal.set_wakeup_fd(self._previous_fd, warn_on_full_buffer=False)
        self._is_over = True
        os.write(self._write_end, b"\0")
        self._thread.join()
        os.close(self._read_end)
        os.close(self._write_end)
        if self._active:
            self._active[-1].end_by(min(self._end_at, self._interrupt_at + _LEAVE_S), self._why)

    def end_by(self, moment: float, why: str) -> None:
        """End the process at that moment of the monotonic clock, unless it has ended."""
        if moment < self._end_at:
            self._end_at, self._why = moment, why
            os.write(self._write_end, b"\0")  # wakes the thread, which may wait without a limit

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        while not self._is_over:
            if poll.poll(self._wait_ms()):
                for number in os.read(self._read_end, 64):
                    if number in _SIGNALS:
                        self._note_signal(signal.Signals(number), time.monotonic())
            self._check_deadlines(time.monotonic())

    def _wait_ms(self) -> float | None:
        if not self.is_signaled:
            return None
        left_s = min(self._interrupt_at, self._end_at) - time.monotonic()
        return math.ceil(1000 * max(0.0, min(left_s, _POLL_S)))

    def _note_signal(self, number: signal.Signals, now: float) -> None:
        if not self.is_signaled:
            self._first_at, self._why = now, f"{number.name} came"
            if number == signal.SIGTERM:
                self._interrupt_at, self._end_at = now + self._grace_s, now + self._end_s
        elif number != signal.SIGTERM or now - self._first_at > _SETTLE_S:
            self.end_by(now + _LEAVE_S, f"{self._why}, then {number.name}")

    def _check_deadlines(self, now: float) -> None:
        if not self.is_signaled or self._is_over:
            return
        is_draining = not math.isinf(self._grace_s) and math.isinf(self._end_at)
        if is_draining and (now >= self._interrupt_at or _is_ray_dead()):
            is_late = now >= self._interrupt_at
            self._why += (
                f", and the grace period of {self._grace_s:g} s passed" if is_late else ", and Ray is dead"
            )
            self._interrupt_at, self._end_at = math.inf, now + _LEAVE_S
            main = threading.main_thread().ident
            assert main is not None, "the main thread runs"
            signal.pthread_kill(main, signal.SIGINT)
        if now >= self._end_at:
            self._end_process()

    def _end_process(self) -> None:
        why = f"{self._why}; the process did not come to its end and was ended by force"
        report = threading.Thread(target=self._request.before_forced_exit, args=(why,), daemon=True)
        report.start()
        report.join(_REPORT_S)
        os.write(2, f"interrupted: {why}; run the same command to continue\n".encode())
        os._exit(INTERRUPTED)


def _is_ray_dead() -> bool:
    """Return whether this process started a Ray cluster that has died, so that nothing can be finished on it."""
    ours = sys.modules.get(_RAY_PROCESSES)  # not imported here: that takes seconds
    return ours is not None and bool(ours.own_cluster_is_dead())
