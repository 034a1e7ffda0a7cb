"""Whatever is killed and whenever: the same images in the same order, the same curve, the same weights, bit by bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from student.settings.streams import LoaderSettings
from student.settings.train import TrainSettings
from student.training.train import train
from tests.engine.process_tree import Tree
from tests.student.trainings import (
    finish,
    kill_some_time,
    start_training,
    steps_begun,
    wait_for_step,
    what_was_learned,
    workers_of,
)


@pytest.fixture
def run(two_streams: TrainSettings, tmp_path: Path) -> TrainSettings:
    """Checkpoints between lines of the log, averaged weights: all that has to be carried over."""
    return two_streams.model_copy(
        update={"steps": 24, "log_every": 4, "checkpoint_every": 4, "log_samples": True, "ema_decay": 0.9}
    )


def calm(settings: TrainSettings) -> TrainSettings:
    return settings.model_copy(update={"out": settings.out + "-calm"})


def test_a_kill_and_a_notice_to_end_change_no_bit(run: TrainSettings) -> None:
    rare = run.model_copy(update={"checkpoint_every": 8})
    child = start_training(rare)
    wait_for_step(child, rare, 11)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child = start_training(rare)
    wait_for_step(child, rare, 14)
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 130
    newest = max((Path(run.out) / "checkpoints").iterdir())
    assert newest.name == f"step-{steps_begun(rare):08d}"  # at the step of the signal, not at the eighth
    train(rare), train(calm(run))

    assert what_was_learned(rare) == what_was_learned(calm(run))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_at_random_moments_change_no_bit(run: TrainSettings) -> None:
    rng, long = random.Random(7), run.model_copy(update={"steps": 240})
    alive = [kill_some_time(long, rng, startup_s=8.0, step_s=0.05) for _ in range(10)]
    assert finish(long) == 0 == finish(calm(long))

    assert all(alive)
    assert what_was_learned(long) == what_was_learned(calm(long))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_ten_kills_at_random_moments_with_two_workers_change_no_bit(run: TrainSettings) -> None:
    """Drivers and workers by turns: a driver is started again by hand, a worker is replaced by the driver."""
    rng = random.Random(8)
    long = run.model_copy(update={"steps": 240, "workers": 2, "restarts": 5})
    for turn in range(5):
        assert kill_some_time(long, rng, startup_s=30.0, step_s=0.1), turn
    child = start_training(long)
    for _ in range(5):
        before = steps_begun(long)
        wait_for_step(child, long, before + 1)
        time.sleep(rng.uniform(0, 0.5))
        assert child.poll() is None
        os.kill(rng.choice(workers_there(child)), signal.SIGKILL)
    assert child.wait(timeout=600) == 0 == finish(calm(long))

    assert what_was_learned(long) == what_was_learned(calm(long))


@pytest.mark.slow
def test_a_killed_training_leaves_no_process_that_makes_batches(run: TrainSettings) -> None:
    ahead = run.model_copy(update={"steps": 400, "loader": LoaderSettings(processes=2)})
    child = start_training(ahead)
    wait_for_step(child, ahead, 3)
    tree = Tree(child.pid)
    tree.look()

    child.kill()
    child.wait()

    assert "pt_data_worker" in tree.names() and tree.left_after(10) == []


@pytest.mark.slow
def test_a_sigterm_to_the_group_leaves_the_processes_that_make_batches_to_the_training(
    run: TrainSettings,
) -> None:
    ahead = run.model_copy(
        update={"steps": 400, "checkpoint_every": 400, "loader": LoaderSettings(processes=2)}
    )
    child = start_training(ahead)
    wait_for_step(child, ahead, 3)
    tree = Tree(child.pid)
    tree.look()

    os.killpg(child.pid, signal.SIGTERM)

    assert child.wait(timeout=60) == 130
    assert len(list((Path(ahead.out) / "checkpoints").iterdir())) == 1
    sessions = {process.session for process in tree.found.values() if process.name == "pt_data_worker"}
    assert len(sessions) == 2 and child.pid not in sessions
    assert tree.left_after(10) == []


def workers_there(driver: subprocess.Popen[bytes]) -> list[int]:
    """Return the workers' process ids. After the loss of one there may be none for a while."""
    for _ in range(1200):
        assert driver.poll() is None
        if found := workers_of(driver.pid):
            return found
        time.sleep(0.1)
    raise AssertionError("no worker came for two minutes")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_notice_to_end_reaches_two_workers(run: TrainSettings) -> None:
    stopped = run.model_copy(update={"workers": 2, "steps": 60, "checkpoint_every": 60, "log_every": 60})
    child = start_training(stopped)
    wait_for_step(child, stopped, 5)
    tree = Tree(child.pid)
    tree.look()
    os.killpg(child.pid, signal.SIGTERM)  # as `timeout` does; Ray and its workers are not to hear it
    assert child.wait(timeout=120) == 130
    assert tree.left_after(10) == []
    newest = max((Path(stopped.out) / "checkpoints").iterdir())
    assert newest.name == f"step-{steps_begun(stopped):08d}"
    assert finish(stopped) == 0 == finish(calm(stopped))

    assert what_was_learned(stopped) == what_was_learned(calm(stopped))
    assert (Path(stopped.out) / "report.log").read_text().startswith("{")
