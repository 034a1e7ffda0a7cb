"""Two trainings at once: each a process of its own with one thread, because two threads on two busy cores collapse."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.errors import GroundswellError
from student.journal import read_journal

LAST_LINES = 12


def train_together(
    configs: Mapping[str, Path],
    outs: Mapping[str, Path],
    steps: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """Run `groundswell train CONFIG` for every configuration at once; progress is that of the slowest.

    Raises GroundswellError with the last lines of a training that failed; the others are stopped then.
    """
    running = {name: _start(path, outs[name]) for name, path in configs.items()}
    label = " and ".join(running)
    try:
        while any(process.poll() is None for process in running.values()):
            time.sleep(0.5)
            progress(label, min(_steps_done(outs[name]) for name in running), steps)
            for name, process in running.items():
                if process.poll():
                    raise GroundswellError(f"the training of {name} failed:\n{_tail(outs[name])}")
        progress(label, steps, steps)
    finally:
        for process in running.values():
            if process.poll() is None:
                process.terminate()
            process.wait()


def _start(config: Path, out: Path) -> subprocess.Popen[bytes]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "train.log").open("wb") as log:
        command = [sys.executable, "-m", "pipelines.cli", "train", str(config), "--json"]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _steps_done(out: Path) -> int:
    records = read_journal(out)
    return int(records[-1]["step"]) if records else 0


def _tail(out: Path) -> str:
    lines = (out / "train.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])
