"""Trainings in processes of their own, to be killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from student.settings.train import TrainSettings
from student.training.metrics_log import SAMPLES, read_metrics

ROOT = Path(__file__).resolve().parents[2]


def start_training(settings: TrainSettings) -> subprocess.Popen[bytes]:
    """`groundswell train` of these settings, the leader of a process group."""
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.yaml").write_text(settings.model_dump_json())  # JSON is YAML
    with (out / "report.log").open("wb") as report, (out / "train.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "train", str(out / "train.yaml"), "--json"],
            stdout=report,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def finish(settings: TrainSettings) -> int:
    """Run to the end; the exit code."""
    return start_training(settings).wait(timeout=600)


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """Return `{"step", "names"}` of each step so far, without a line that a kill cut short."""
    path = folder / SAMPLES
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def steps_begun(settings: TrainSettings) -> int:
    return len(read_samples(Path(settings.out)))


def wait_for_step(child: subprocess.Popen[bytes], settings: TrainSettings, step: int) -> None:
    """Until the run has logged that many steps, or is over."""
    while child.poll() is None and steps_begun(settings) < step:
        time.sleep(0.02)


def kill_some_time(settings: TrainSettings, rng: random.Random, startup_s: float, step_s: float) -> bool:
    """Start a run and kill its driver at a random moment: half of the times while it starts. Whether it was alive."""
    child = start_training(settings)
    before = steps_begun(settings)
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, startup_s))
    else:
        wait_for_step(child, settings, before + 1)
        time.sleep(rng.uniform(0, 8 * step_s))
    alive = child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    return alive


def what_was_learned(settings: TrainSettings) -> tuple[object, ...]:
    """Order of the images, loss curve and weights, to the last bit."""
    out = Path(settings.out)
    weights = load_file(out / "model" / "model.safetensors")
    losses = [
        {name: value for name, value in record.items() if name.startswith(("step", "loss", "count", "grad"))}
        for record in read_metrics(out)
    ]
    return read_samples(out), losses, {name: value.numpy().tobytes() for name, value in weights.items()}


def workers_of(driver: int) -> list[int]:
    """Process ids of the training's workers, which descend from the driver by way of Ray."""
    found: list[int] = []
    pending = [driver]
    while pending:
        for child in children_of(pending.pop()):
            pending.append(child)
            title = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
            if title.startswith(b"ray::RayTrainWorker"):
                found.append(child)
    return found


def children_of(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split()]
