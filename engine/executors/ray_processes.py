"""The processes of the Ray cluster that this process starts, and the signals that Ray would take from this process.

Promise: a signal to our process group (`timeout`, CI, a shell) reaches this process alone, so that it can end in order;
and none of Ray's processes outlives this one by more than seconds, however it ends. The kernel kills those that we
started (Ray asks it to), a guardian kills those that the raylet started (ray_guardian.py).
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
from typing import Any

from ray._private import services, utils

_GUARDIAN = Path(__file__).with_name("ray_guardian.py")
_RAYLET = "raylet"
_VITAL = ("gcs_server", _RAYLET)  # without them, Ray ends this process after a minute
_KEEP_EVERY_S = 0.002
_SIGACTION_BYTES = 1024  # more than a `struct sigaction` has anywhere
_vital: list[subprocess.Popen[bytes]] = []


@contextmanager
def own_processes() -> Iterator[None]:
    """Within, each process that Ray starts from here leads a session, so a process group, of its own, and is guarded.

    At the end none of them is left. Linux only: elsewhere Ray ends its processes by their common process group.
    """
    if sys.platform != "linux":
        yield
        return
    internals: Any = services  # not part of Ray's stable interface
    theirs: Any = internals.ConsolePopen
    started: list[subprocess.Popen[bytes]] = []

    with _guardian() as tell:

        class Apart(theirs):  # type: ignore[misc]
            def __init__(self, command: list[str], **options: Any) -> None:
                program = Path(command[0]).name
                told = tell if program == _RAYLET else None
                options["preexec_fn"] = _bound(os.getpid(), options.get("preexec_fn"), told)
                super().__init__(command, **options, start_new_session=True)
                started.append(self)
                if program in _VITAL:
                    _vital.append(self)

        internals.ConsolePopen = Apart
        try:
            yield
        finally:
            internals.ConsolePopen = theirs
            own_cluster_ends()
            for process in started:
                process.kill()


def own_cluster_is_dead() -> bool:
    """Whether the cluster that this process started has lost a process that it cannot work without."""
    return any(process.poll() is not None for process in _vital)


def own_cluster_ends() -> None:
    """From now on the death of its processes is no accident."""
    _vital.clear()


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Within, SIGTERM does to this process what it did before. Ray takes it over while it starts and when it ends.

    Ray sets a handler that ends Python at once with units half done, then one in C that ends the process by SIGALRM
    three seconds later; its shutdown leaves the default action. Nothing is done where nobody handles SIGTERM.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    internals: Any = utils
    theirs, internals.set_sigterm_handler = internals.set_sigterm_handler, lambda handler: None
    has_alarm = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    ended = threading.Event()
    keeper = threading.Thread(target=_keep_action, args=(_action(), has_alarm, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        internals.set_sigterm_handler = theirs
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _guardian() -> Iterator[int]:
    """Start a process that waits for the end of the block or of this process; yield the pipe for sessions to end."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARDIAN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None, "it was started with a pipe"
    try:
        yield process.stdin.fileno()
    finally:
        process.stdin.close()
        process.wait()


def _bound(parent: int, prepare: Callable[[], None] | None, tell: int | None) -> Callable[[], None]:
    """Return what a child does before it becomes Ray's program: tell the guardian, end if its parent is gone."""

    def bind() -> None:
        if prepare is not None:
            prepare()
        if tell is not None:
            with suppress(OSError):  # somebody ended the guardian
                os.write(tell, f"{os.getpid()}\n".encode())
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _action() -> ctypes.Array[ctypes.c_char]:
    """Return what the kernel does on SIGTERM now, as a `struct sigaction`."""
    action = ctypes.create_string_buffer(_SIGACTION_BYTES)
    ctypes.CDLL(None).sigaction(signal.SIGTERM, None, action)
    return action


def _keep_action(action: ctypes.Array[ctypes.c_char], has_alarm: bool, ended: threading.Event) -> None:
    library = ctypes.CDLL(None)
    is_last = False
    while not is_last:
        is_last = ended.wait(_KEEP_EVERY_S)
        library.sigaction(signal.SIGTERM, action, None)
        if not has_alarm:
            library.alarm(0)  # what Ray's handler set, if a signal came between two looks
