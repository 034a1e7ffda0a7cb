"""Run two trainings at once, each in a process with one thread, since two threads on two busy cores are very slow.

No training outlives its parent, however the parent ends. Each child reads from a pipe that only the parent can close,
and ends when it closes. So when a demo was killed and is started again, no other process writes there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import GroundswellError
from schemas.progress import ProgressCallback
from student.training.metrics_log import read_metrics

LOG_LINES_SHOWN = 12
POLL_S = 0.5


def train_in_parallel(
    configs: Mapping[str, Path], outs: Mapping[str, Path], steps: int, progress: ProgressCallback
) -> None:
    """Train every configuration at once, as `groundswell train CONFIG` does. The progress is that of the slowest.

    Raises GroundswellError with the last log lines of a training that failed, and ends the others.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    label = " and ".join(configs)
    try:
        for name, path in configs.items():
            running[name] = _start(path, outs[name])
        while not all(_is_done(process, name, outs[name]) for name, process in running.items()):
            progress(label, min(_count_steps(outs[name]) for name in running), steps)
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
        raise GroundswellError(
            f"the training of {name} failed (exit code {code}), see {out / 'train.log'}:\n{_read_tail(out)}"
        )
    return code == 0


def _start(config: Path, out: Path) -> subprocess.Popen[bytes]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "train.log").open("wb") as log:
        command = [sys.executable, "-m", __name__, str(config)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)


def _count_steps(out: Path) -> int:
    records = read_metrics(out)
    return int(records[-1]["step"]) if records else 0


def _read_tail(out: Path) -> str:
    lines = (out / "train.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_LINES_SHOWN:])


def tie_to_parent() -> None:
    """End this process, as a kill would, when the pipe that is its standard input closes."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: its buffer's lock would make a normal end of Python fatal
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _train(config: Path) -> None:
    """Train in this process and print the report as JSON."""
    from pipelines.config import load_settings
    from pipelines.config.folder_kind import FolderKind
    from pipelines.config.output_place import check_folder
    from pipelines.terminal.interrupt import drain_training_on_signal
    from pipelines.terminal.progress import ProgressPrinter
    from student.settings.train import TrainSettings
    from student.training.train import train

    settings = load_settings(config, TrainSettings)
    check_folder("out", settings.out, FolderKind.TRAINING, reads=(str(config),))
    with drain_training_on_signal() as stop:
        report = train(settings, ProgressPrinter(), stop)
    print(json.dumps(report, ensure_ascii=False, allow_nan=False), flush=True)


def main(config: str) -> None:
    """Run one training for as long as the parent lives. Exit with the code that `groundswell train` would have."""
    tie_to_parent()
    try:
        _train(Path(config))
    except GroundswellError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main(sys.argv[1])
