"""Processes that are forked, killed, stopped and waited for. Its user must have one thread.

A fork costs milliseconds where a fresh interpreter costs half a second, so hundreds of deaths fit into a minute.
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
    """Run the action in a child that ends with it; the child's process id. A traceback goes to stderr, exit code 1."""
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


def ended(pid: int) -> int:
    """Wait for a child: its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ended_by_now(pid: int) -> int | None:
    """As `ended`, None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def answer_of(action: Callable[[], Any]) -> Any:
    """The action's result as JSON, computed in a child. Raises RuntimeError when the child fails."""
    reading, writing = os.pipe()

    def answer() -> None:
        with os.fdopen(writing, "w") as pipe:
            json.dump(action(), pipe)

    pid = fork(answer)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    if code := ended(pid):
        raise RuntimeError(f"a child that was to answer ended with {code}; its traceback is above")
    return json.loads(text)


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing there either, and a sync costs nothing."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="groundswell-chaos-", dir=place) as folder:
        yield Path(folder)
