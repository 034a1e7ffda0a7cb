"""A process of its own for samples that may kill theirs: started, watched, and ended when it hangs or grows.

Promise: whatever the process does, the caller gets an answer or the way it died, in bounded time; it never outlives
the caller. Requests and answers are JSON files in a private folder.
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
from pathlib import Path
from typing import Any

from pydantic import Field

from engine.settings import RunSettings
from engine.storage.local_files import replace_file
from engine.task import Outcome, Task, WorkerSpec
from engine.worker.bisection import Died
from engine.worker.import_check import package_root
from engine.worker.memory_limit import CHECK_EVERY_S, resident_bytes
from schemas.records import Record

READY, STEP = b"R", b"."
MEMORY_EXIT = 79  # what a child says when Python itself had no memory left
_NOTES, _ANSWER = "notes.json", "answer.json"
_LOOK_EVERY_S = 0.25


class Request(Record):
    """What a child is to do: read a shard to its end, or label the samples [first, stop) of a unit."""

    spec: WorkerSpec
    task: Task
    first: int = 0
    stop: int = 0


class Answer(Record):
    """What a child did. An `outcome` says that it could not, or tells the facts of a shard."""

    outcome: Outcome | None = None
    rows: list[dict[str, Any]] = Field(default_factory=list)
    rejections: list[dict[str, Any]] = Field(default_factory=list)
    answered: int = 0
    batch_size: int | None = None
    score_kind: str | None = None


class NeverReady(Exception):
    """A child died or hung before it held any sample."""


def in_child(request: Request, progress: Callable[[], None]) -> Answer | Died:
    """Do the request in a child. Raises NeverReady when it does not even get its teacher made."""
    with tempfile.TemporaryDirectory(prefix="groundswell-child-") as folder:
        Path(folder, "request.json").write_text(request.model_dump_json())
        read_end, write_end = os.pipe()
        try:
            process = _start(folder, write_end)
        finally:
            os.close(write_end)
        try:
            died = _Watch(process, read_end, request.spec.run, progress).until_end()
        finally:
            _end(process)
            os.close(read_end)
        answer = Path(folder, _ANSWER)
        if died is None and process.returncode == 0 and answer.exists():
            return Answer.model_validate_json(answer.read_text())
        died = died or _way_of(process.returncode)
        notes = _notes(Path(folder, _NOTES))
        return Died(died.code, died.detail, notes.keys.get(request.first), notes.score_kind)


def take_note(folder: str, score_kind: str, keys: dict[int, str]) -> None:
    """Leave what is known for the case that the process dies of a sample."""
    Path(folder, _NOTES).write_text(_Notes(score_kind=score_kind, keys=keys).model_dump_json())


def give_answer(folder: str, answer: Answer) -> None:
    """Leave the answer whole or not at all."""
    replace_file(Path(folder, _ANSWER), answer.model_dump_json().encode())


class _Notes(Record):
    score_kind: str | None = None
    keys: dict[int, str] = Field(default_factory=dict)


def _start(folder: str, write_end: int) -> subprocess.Popen[bytes]:
    paths = [package_root(), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        # -P: the current directory may hold rooms of the same name
        [sys.executable, "-P", "-m", "engine.worker.sandbox_child", folder, str(write_end), str(os.getpid())],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        pass_fds=[write_end],
        stdin=subprocess.DEVNULL,
        stdout=2,  # standard output is for our data
        start_new_session=True,
    )


class _Watch:
    def __init__(
        self, process: subprocess.Popen[bytes], read_end: int, run: RunSettings, progress: Callable[[], None]
    ) -> None:
        self._process, self._read_end, self._run, self._progress = process, read_end, run, progress
        self._limit = None if run.memory_limit_gb is None else int(run.memory_limit_gb * 2**30)
        self._moved = time.monotonic()
        self._ready = False

    def until_end(self) -> Died | None:
        """Wait. Returns how the child was ended by us, None when it ended by itself."""
        every_s = _LOOK_EVERY_S if self._limit is None else CHECK_EVERY_S
        while True:
            quiet_s = time.monotonic() - self._moved
            if died := self._too_much(quiet_s):
                return died
            self._progress()  # whoever watches us need not worry: how long a child is quiet is bounded here
            left_s = self._allowed_s() - quiet_s
            readable, _, _ = select.select([self._read_end], [], [], max(min(every_s, left_s), 0))
            if readable and not self._take(os.read(self._read_end, 4096)):
                return self._ended()

    def _take(self, signs: bytes) -> bool:
        if signs:
            self._moved = time.monotonic()
            self._ready = self._ready or READY in signs
        return bool(signs)

    def _too_much(self, quiet_s: float) -> Died | None:
        if quiet_s > self._allowed_s():
            if not self._ready:
                raise NeverReady(f"a fresh process had no teacher after {self._allowed_s():g} s")
            return Died("TIMEOUT", f"no progress for {self._run.sample_timeout_s:g} s")
        held = resident_bytes(self._process.pid) if self._limit else 0
        if self._limit and held > self._limit:
            return Died("OOM", f"a process above run.memory_limit_gb {self._run.memory_limit_gb:g}")
        return None

    def _ended(self) -> Died | None:
        """The pipe was closed: by the process's end, or by the sample's own doing."""
        try:
            self._process.wait(self._allowed_s())
        except subprocess.TimeoutExpired:
            return Died("TIMEOUT", f"no end within {self._allowed_s():g} s")
        if not self._ready:
            raise NeverReady(
                f"a fresh process died before it held a sample: {_way(self._process.returncode)}"
            )
        return None

    def _allowed_s(self) -> float:
        return self._run.sample_timeout_s if self._ready else self._run.load_timeout_s


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _way_of(returncode: int) -> Died:
    return Died("OOM" if returncode == MEMORY_EXIT else "CRASH", _way(returncode))


def _way(returncode: int) -> str:
    if returncode == MEMORY_EXIT:
        return "the process had no memory left"
    if returncode >= 0:
        return f"the process ended itself with exit code {returncode}"
    try:
        return f"the process died of {signal.Signals(-returncode).name}"
    except ValueError:
        return f"the process died of signal {-returncode}"


def _notes(path: Path) -> _Notes:
    try:
        return _Notes.model_validate_json(path.read_text())
    except (OSError, ValueError):  # it died before it wrote them
        return _Notes()
