"""Runs the cells that are missing, two at a time, each a process with one thread.

Promise: however the grid ends, no cell outlives it (each holds the reading end of a pipe that only the grid can close),
and the same call again does only what is still missing. A cell that fails stops the cells that need it, nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks.headline import worker
from benchmarks.headline.cells import FAILURE, Cell, CellStore
from benchmarks.headline.worker import NOTE, SPECS, spec_of
from schemas.errors import ConflictError

POLL_S = 0.5
TELL_EVERY_S = 60.0
_LAST_LINES = 15
Say = Callable[[str], None]


@dataclass
class Grid:
    """until_s: seconds after which no cell is begun and running ones are ended; they go on in the next call."""

    store: CellStore
    workers: int = 2
    until_s: float | None = None
    say: Say = print
    _running: dict[str, _Running] = field(default_factory=dict)

    def run(self, targets: Sequence[Cell]) -> bool:
        """Whether every target is done. Raises ConflictError when another grid runs in the same folder."""
        with _lock_folder(self.store.root):
            waiting = self.store.missing(targets)
            self._began, self._total, self._told = time.monotonic(), len(waiting), time.monotonic()
            self.say(f"{len(waiting)} cells to run, {self.workers} at a time, in {self.store.root}")
            try:
                while (waiting or self._running) and not self._is_late():
                    waiting = self._begin(waiting)
                    if not self._running:
                        break  # what is left waits for a cell that failed
                    self._look()
            finally:
                self._end()
        return not self.store.missing(targets)

    def _begin(self, waiting: list[Cell]) -> list[Cell]:
        """Start what can start; returns what still waits."""
        left = []
        for cell in waiting:
            ready = all(self.store.record(needed) is not None for needed in cell.inputs.values())
            if ready and len(self._running) < self.workers:
                self._running[cell.digest] = _start(cell, self.store)
            else:
                left.append(cell)
        return left

    def _look(self) -> None:
        """Wait a little, and take down what has ended."""
        time.sleep(POLL_S)
        for digest, running in list(self._running.items()):
            if running.process.poll() is not None:
                del self._running[digest]
                self._collect(running)
        if time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            notes = ", ".join(f"{one.cell.title} ({one.note()})" for one in self._running.values())
            self.say(f"    {self._minutes()} running: {notes}")

    def _collect(self, running: _Running) -> None:
        self._total -= 1
        running.close()
        record = self.store.record(running.cell)
        if record is None:
            running.tell_failure()
            why = self.store.why_missing(running.cell)
            self.say(f"    {self._minutes()} {why}")
            return
        found = record["result"]
        shown = [name for name in ("tail", "head", "recall") if found.get(name, -1) >= 0]
        numbers = [f"{name} {100 * found[name]:.1f}" for name in shown]
        figures = f", {', '.join(numbers)}" if numbers else ""
        left = f"{self._total} left"
        self.say(f"    {self._minutes()} {running.cell.title}: {record['cpu_s']:.0f} CPU-s{figures}; {left}")

    def _end(self) -> None:
        for running in self._running.values():
            running.process.terminate()
            running.close()
        self._running.clear()

    def _is_late(self) -> bool:
        late = self.until_s is not None and time.monotonic() - self._began > self.until_s
        if late:
            self.say(f"    {self._minutes()} time is up: {self._total} cells are left for the next call")
        return late

    def _minutes(self) -> str:
        return f"[{(time.monotonic() - self._began) / 60:5.1f} min]"


@dataclass(frozen=True)
class _Running:
    """A cell's process."""

    cell: Cell
    folder: Path
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def note(self) -> str:
        path = self.folder / NOTE
        return path.read_text() if path.exists() else "begun"

    def close(self) -> None:
        self.process.wait()
        assert self.process.stdin is not None, "the child was started with a pipe"
        self.process.stdin.close()
        self.log.close()

    def tell_failure(self) -> None:
        """Leave a failure for a process that could not write one itself: killed, or dead before it began."""
        path = self.folder / FAILURE
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            text = Path(self.log.name).read_text(encoding="utf-8", errors="replace")
            lines = [*text.splitlines()[-_LAST_LINES:], f"ended with code {self.process.returncode}"]
            path.write_text("\n".join(lines), encoding="utf-8")


def _start(cell: Cell, store: CellStore) -> _Running:
    folder = store.folder(cell)
    (folder / FAILURE).unlink(missing_ok=True)
    specs = store.root / SPECS
    specs.mkdir(parents=True, exist_ok=True)
    spec = specs / f"{cell.name}.json"
    spec.write_text(json.dumps(spec_of(cell, store), indent=1), encoding="utf-8")
    log = (specs / f"{cell.name}.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", worker.__name__, str(spec)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return _Running(cell, folder, process, log)


@contextmanager
def _lock_folder(root: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system gives back however this process ends."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"another run works in {root}: wait for it, or give --out another folder"
            ) from error
        yield
