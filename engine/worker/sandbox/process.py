"""A sandbox process for samples that may kill their process: started, watched, and ended if it hangs or grows.

Whatever the process does, the caller gets its answer or an error that says how it died, in bounded time. The process
never outlives the caller.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from engine.settings import RunSettings
from engine.worker.errors import SandboxDiedError, SandboxNotReadyError
from engine.worker.import_check import package_root
from engine.worker.sandbox.memory_limit import CHECK_EVERY_S, resident_bytes
from engine.worker.sandbox.messages import (
    MEMORY_EXIT,
    READY,
    SandboxAnswer,
    SandboxRequest,
    read_answer,
    read_notes,
    write_request,
)

# Details are stored in the rows of rejected samples and in the failures of snapshots, so their texts must not change.
_CHILD = f"{__package__}.child"
_POLL_S = 0.25


def run_in_sandbox(request: SandboxRequest, progress: Callable[[], None]) -> SandboxAnswer:
    """Run a request in a process of its own and return the answer.

    progress: called for as long as the process is watched
    raises:   SandboxNotReadyError if the process does not get as far as its first sample; SandboxDiedError if it ends
              without an answer
    """
    with tempfile.TemporaryDirectory(prefix="groundswell-child-") as folder:
        write_request(folder, request)
        read_end, write_end = os.pipe()
        try:
            process = _start(folder, write_end)
        finally:
            os.close(write_end)
        try:
            try:
                _Supervisor(process, read_end, request.spec.run, progress).wait()
            finally:
                _kill(process)
                os.close(read_end)
            return _take_answer(folder, process.returncode)
        except _Ending as ending:
            notes = read_notes(folder)
            key = notes.keys.get(request.first, "")
            raise SandboxDiedError(ending.sample_code, ending.detail, key, notes.score_kind) from None


def _take_answer(folder: str, returncode: int) -> SandboxAnswer:
    answer = read_answer(folder) if returncode == 0 else None
    if answer is None:
        raise _Ending("OOM" if returncode == MEMORY_EXIT else "CRASH", _describe_exit(returncode))
    return answer


class _Ending(Exception):
    """How the process ended: the reason code of the one sample that it may have had, and a detail."""

    def __init__(self, sample_code: str, detail: str) -> None:
        super().__init__(detail)
        self.sample_code, self.detail = sample_code, detail


def _start(folder: str, write_end: int) -> subprocess.Popen[bytes]:
    paths = [package_root(), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        # -P: the current directory may contain packages of the same name
        [sys.executable, "-P", "-m", _CHILD, folder, str(write_end), str(os.getpid())],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        pass_fds=[write_end],
        stdin=subprocess.DEVNULL,
        stdout=2,  # standard output is for our data
        start_new_session=True,
    )


class _Supervisor:
    """Watches a sandbox process until it ends or breaks a limit."""

    def __init__(
        self, process: subprocess.Popen[bytes], read_end: int, run: RunSettings, progress: Callable[[], None]
    ) -> None:
        self._process, self._read_end, self._run, self._progress = process, read_end, run, progress
        self._limit_bytes = None if run.memory_limit_gb is None else int(run.memory_limit_gb * 2**30)
        self._progress_at = time.monotonic()
        self._is_ready = False

    def wait(self) -> None:
        """Return when the process ended by itself. Raise _Ending or SandboxNotReadyError if it must be ended."""
        interval_s = _POLL_S if self._limit_bytes is None else CHECK_EVERY_S
        while True:
            quiet_s = time.monotonic() - self._progress_at
            self._check_limits(quiet_s)
            self._progress()  # its silence is bounded here, so the worker counts as alive
            left_s = self._timeout_s() - quiet_s
            readable, _, _ = select.select([self._read_end], [], [], max(min(interval_s, left_s), 0))
            if readable and not self._take_signs(os.read(self._read_end, 4096)):
                self._wait_for_exit()
                return

    def _take_signs(self, signs: bytes) -> bool:
        """Note signs of life. Return whether there were any: none means that the pipe was closed."""
        if signs:
            self._progress_at = time.monotonic()
            self._is_ready = self._is_ready or READY in signs
        return bool(signs)

    def _check_limits(self, quiet_s: float) -> None:
        if quiet_s > self._timeout_s():
            if not self._is_ready:
                raise SandboxNotReadyError(f"a fresh process had no teacher after {self._timeout_s():g} s")
            raise _Ending("TIMEOUT", f"no progress for {self._run.sample_timeout_s:g} s")
        resident = resident_bytes(self._process.pid) if self._limit_bytes else 0
        if self._limit_bytes and resident > self._limit_bytes:
            raise _Ending("OOM", f"a process above run.memory_limit_gb {self._run.memory_limit_gb:g}")

    def _wait_for_exit(self) -> None:
        """Wait for the exit after the pipe was closed, by the exit itself or by what the sample does."""
        try:
            self._process.wait(self._timeout_s())
        except subprocess.TimeoutExpired:
            raise _Ending("TIMEOUT", f"no end within {self._timeout_s():g} s") from None
        if not self._is_ready:
            raise SandboxNotReadyError(
                f"a fresh process died before it held a sample: {_describe_exit(self._process.returncode)}"
            )

    def _timeout_s(self) -> float:
        return self._run.sample_timeout_s if self._is_ready else self._run.load_timeout_s


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _describe_exit(returncode: int) -> str:
    if returncode == MEMORY_EXIT:
        return "the process had no memory left"
    if returncode >= 0:
        return f"the process ended itself with exit code {returncode}"
    try:
        return f"the process died of {signal.Signals(-returncode).name}"
    except ValueError:
        return f"the process died of signal {-returncode}"
