"""Fork child processes, kill them, stop them and wait for them. The caller must have one thread.

A fork takes milliseconds and a fresh interpreter half a second, so hundreds of deaths fit into a minute.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

FAILED = 1
pa.Table.from_pylist([{"looks": "for pandas once, which takes half a second, instead of in every child"}])


def fork(action: Callable[[], Any]) -> int:
    """Run the action in a forked child; return the child's process id. A traceback goes to stderr with exit code 1."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    code = FAILED
    try:
        action()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait_for_exit(pid: int) -> int:
    """Wait for a child. Return its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def poll_exit(pid: int) -> int | None:
    """Return the exit code as `wait_for_exit` does, or None while the child runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def kill(pid: int) -> None:
    """Send SIGKILL to a child."""
    os.kill(pid, signal.SIGKILL)


def run_in_child(action: Callable[[], Any]) -> Any:
    """Return the action's result as JSON, computed in a child. Raises RuntimeError if the child fails."""
    reading, writing = os.pipe()

    def answer() -> None:
        with os.fdopen(writing, "w") as pipe:
            json.dump(action(), pipe)

    pid = fork(answer)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    if code := wait_for_exit(pid):
        raise RuntimeError(f"a child that was to answer ended with {code}; its traceback is above")
    return json.loads(text)


@contextmanager
def find_fast_folder() -> Iterator[Path]:
    """Return a folder in memory, if there is one.

    A killed process loses nothing there, as on a disk, but a sync costs nothing.
    """
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="groundswell-chaos-", dir=place) as folder:
        yield Path(folder)
