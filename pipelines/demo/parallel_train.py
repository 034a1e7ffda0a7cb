"""Two trainings at once: each a process of its own with one thread, because two threads on two busy cores collapse.

Promise: however the parent ends, no training outlives it. Each child holds the reading end of a pipe that only the
parent can close, and ends when it closes; so a demo that was killed and started again finds nobody writing there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.errors import GroundswellError
from student.training.metrics_log import read_metrics

LAST_LINES = 12
POLL_S = 0.5


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
        while not all(_is_done(process, name, outs[name]) for name, process in running.items()):
            progress(label, min(_steps_done(outs[name]) for name in running), steps)
            time.sleep(POLL_S)
        progress(label, steps, steps)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
            assert process.stdin is not None, "the child was started with a pipe"
            process.stdin.close()


def _is_done(process: subprocess.Popen[bytes], name: str, out: Path) -> bool:
    code = process.poll()
    if code:
        raise GroundswellError(f"the training of {name} failed:\n{_tail(out)}")
    return code == 0


def _start(config: Path, out: Path) -> subprocess.Popen[bytes]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "train.log").open("wb") as log:
        command = [sys.executable, "-m", "pipelines.demo.parallel_train", str(config)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)


def _steps_done(out: Path) -> int:
    records = read_metrics(out)
    return int(records[-1]["step"]) if records else 0


def _tail(out: Path) -> str:
    lines = (out / "train.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])


def tie_to_parent() -> None:
    """End this process, as a kill would, when the pipe that is its standard input closes."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: its buffer's lock, held here, would make a normal end of Python fatal
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _child(config: str) -> None:
    """`groundswell train CONFIG --json`, for as long as the parent lives."""
    from pipelines.cli import build_app

    tie_to_parent()
    build_app()(["train", config, "--json"])


if __name__ == "__main__":
    _child(sys.argv[1])
