"""The processes of the Ray cluster that this process starts, and the signals that Ray would take from this process.

A signal to our process group (`timeout`, CI, a shell) reaches this process alone, so that it can end in order.
However this process ends, Ray's processes end within seconds. The kernel kills those that we started (Ray asks it
to), a guardian kills those that the raylet started (ray_guardian.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, cast

from ray._private import services, utils

_GUARDIAN = Path(__file__).with_name("ray_guardian.py")
_RAYLET = "raylet"
_VITAL = ("gcs_server", _RAYLET)  # without them, Ray ends this process after a minute
_RESTORE_EVERY_S = 0.002
_SIGACTION_BYTES = 1024  # larger than `struct sigaction` on any platform
_vital: list[subprocess.Popen[bytes]] = []


class _Start(Protocol):
    """How Ray starts a process."""

    def __call__(
        self,
        command: list[str],
        *,
        preexec_fn: Callable[[], None] | None = None,
        **options: object,
    ) -> subprocess.Popen[bytes]: ...


class _Services(Protocol):
    """What is replaced of `ray._private.services`."""

    ConsolePopen: _Start


class _Utils(Protocol):
    """What is replaced of `ray._private.utils`."""

    set_sigterm_handler: Callable[[object], None]


@contextmanager
def own_processes() -> Iterator[None]:
    """Give each process that Ray starts in the block a session, and so a process group, of its own, and guard it.

    At the end of the block all of them are ended. Linux only: elsewhere Ray ends its processes by their common group.
    """
    if sys.platform != "linux":
        yield
        return
    internals = cast(_Services, services)  # not part of Ray's stable interface
    original = internals.ConsolePopen
    started: list[subprocess.Popen[bytes]] = []

    with _guardian() as sessions_pipe:

        def start_in_session(
            command: list[str], *, preexec_fn: Callable[[], None] | None = None, **options: object
        ) -> subprocess.Popen[bytes]:
            program = Path(command[0]).name
            pipe = sessions_pipe if program == _RAYLET else None
            bind = _make_binder(os.getpid(), preexec_fn, pipe)
            process = original(command, preexec_fn=bind, start_new_session=True, **options)
            started.append(process)
            if program in _VITAL:
                _vital.append(process)
            return process

        internals.ConsolePopen = start_in_session
        try:
            yield
        finally:
            internals.ConsolePopen = original
            forget_own_cluster()
            for process in started:
                process.kill()


def own_cluster_is_dead() -> bool:
    """Return whether the cluster that this process started lost a process that it needs."""
    return any(process.poll() is not None for process in _vital)


def forget_own_cluster() -> None:
    """Stop watching the cluster's processes: it is about to end."""
    _vital.clear()


@contextmanager
def keep_sigterm() -> Iterator[None]:
    """Keep this process's action on SIGTERM in the block. Ray replaces it when it starts and when it ends.

    Ray sets a handler that ends Python at once with units half done, then one in C that ends the process by SIGALRM
    three seconds later. Its shutdown restores the default action. Without a handler of SIGTERM, nothing is done.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    internals = cast(_Utils, utils)
    original, internals.set_sigterm_handler = internals.set_sigterm_handler, lambda handler: None
    has_alarm = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    ended = threading.Event()
    keeper = threading.Thread(target=_restore_action, args=(_read_action(), has_alarm, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        internals.set_sigterm_handler = original
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _guardian() -> Iterator[int]:
    """Start the guardian for the duration of the block. Yield the pipe that takes the sessions to end."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARDIAN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None, "stdin is a pipe"
    try:
        yield process.stdin.fileno()
    finally:
        process.stdin.close()
        process.wait()


def _make_binder(parent: int, prepare: Callable[[], None] | None, pipe: int | None) -> Callable[[], None]:
    """Return what a child does before it becomes Ray's program: tell the guardian, and end if its parent is gone."""

    def bind() -> None:
        if prepare is not None:
            prepare()
        if pipe is not None:
            with suppress(OSError):  # the guardian was ended by somebody else
                os.write(pipe, f"{os.getpid()}\n".encode())
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _read_action() -> ctypes.Array[ctypes.c_char]:
    """Return the present action on SIGTERM as a `struct sigaction`."""
    action = ctypes.create_string_buffer(_SIGACTION_BYTES)
    ctypes.CDLL(None).sigaction(signal.SIGTERM, None, action)
    return action


def _restore_action(action: ctypes.Array[ctypes.c_char], has_alarm: bool, ended: threading.Event) -> None:
    library = ctypes.CDLL(None)
    is_last = False
    while not is_last:
        is_last = ended.wait(_RESTORE_EVERY_S)
        library.sigaction(signal.SIGTERM, action, None)
        if not has_alarm:
            library.alarm(0)  # set by Ray's handler if a signal came between two iterations
