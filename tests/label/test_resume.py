"""Whatever ends a labeling process, the same command continues and gives the result of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ledger.snapshots.status import status
from engine.ledger.verify import verify
from engine.storage.store import open_store
from pipelines.label.progress.record import load_latest_progress
from pipelines.label.run import label
from tests.engine.process_tree import Tree
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, plain_captions, write_shard

SCRIPT = """
import sys
from pathlib import Path
from engine.storage.store import open_store
from pipelines.label.progress.record import load_latest_progress
from pipelines.label.run import label
from pipelines.label.job import JobConfig
from tests.engine.small_teacher import FACTORIES
label(JobConfig.model_validate_json(Path(sys.argv[1]).read_text()), factories=FACTORIES)
"""


@pytest.fixture
def world(tmp_path: Path, project_root: Path):
    shards = [write_shard(tmp_path / f"{n}.tar", plain_captions(40)) for n in range(2)]
    undisturbed = job_of(tmp_path, shards, output={"url": str(tmp_path / "undisturbed")})
    label(undisturbed, factories=FACTORIES)
    (tmp_path / "teacher.json").write_text('{"sleep_s": 0.02}')
    job = job_of(tmp_path, shards)
    (tmp_path / "job.json").write_text(job.model_dump_json())

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "job.json")]
        environment = os.environ | {"PYTHONPATH": str(project_root)}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    return job, start


def commits(tmp_path: Path) -> int:
    return len(list((tmp_path / "out" / "commits").rglob("*.json")))


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for_commits(process: subprocess.Popen[str], tmp_path: Path, count: int) -> None:
    wait_for(process, lambda: commits(tmp_path) >= count)


def assert_as_undisturbed(tmp_path: Path) -> None:
    assert data_files(tmp_path / "out") == data_files(tmp_path / "undisturbed")
    assert verify(str(tmp_path / "out"))["digest"] == status(str(tmp_path / "undisturbed"))["digest"]
    assert commits(tmp_path) == 10


def test_kill_9_in_the_middle_and_the_same_command_continues(tmp_path: Path, world) -> None:
    job, start = world
    chance = random.Random(7)
    for done in (1, 4, 7):
        process = start()
        wait_for_commits(process, tmp_path, done)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.communicate()

    before = commits(tmp_path)
    assert load_latest_progress(open_store(str(tmp_path / "out"))).state in (
        "starting",
        "running",
    )  # it could not say more
    summary = label(job, factories=FACTORIES)

    assert before >= 7
    assert summary["units"] == {"planned": 10, "committed": 10, "failed": 0, "pending": 0, "quarantined": 0}
    assert_as_undisturbed(tmp_path)
    progress = load_latest_progress(open_store(str(tmp_path / "out")))
    assert progress.retries == {}  # a driver's death charges no unit


@pytest.mark.ray
def test_kill_9_of_a_driver_on_ray_loses_nothing_either(tmp_path: Path, world) -> None:
    job, start = world
    on_ray = job.run.model_copy(update={"executor": "ray"})
    (tmp_path / "job.json").write_text(job.model_copy(update={"run": on_ray}).model_dump_json())
    process = start()
    wait_for_commits(process, tmp_path, 2)
    tree = Tree(process.pid)
    tree.look()
    process.kill()
    process.communicate()

    assert tree.names() >= {"gcs_server", "raylet"} and tree.left_after(10) == []
    summary = label(job, factories=FACTORIES)

    assert summary["units"]["committed"] == 10
    assert_as_undisturbed(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_finishes_the_running_unit_and_publishes(
    tmp_path: Path, world, number: signal.Signals
) -> None:
    job, start = world
    process = start()
    wait_for_commits(process, tmp_path, 2)

    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    units = status(str(tmp_path / "out"))["units"]
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert load_latest_progress(open_store(str(tmp_path / "out"))).state == "interrupted"
    assert units["committed"] == commits(tmp_path) >= 2
    assert units["pending"] == units["planned"] - units["committed"] > 0
    label(job, factories=FACTORIES)
    assert_as_undisturbed(tmp_path)


def test_a_second_interrupt_stops_at_once_and_leaves_nothing_torn(tmp_path: Path, world) -> None:
    (tmp_path / "teacher.json").write_text('{"sleep_s": 2}')  # the running unit would take long to finish
    job, start = world
    process = start()
    wait_for(process, (tmp_path / "out" / "attempts").exists)

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "a second signal stops at once" not in (line := process.stderr.readline()):
        assert line, "the process ended before it was asked twice"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert load_latest_progress(open_store(str(tmp_path / "out"))).state == "interrupted"
    assert commits(tmp_path) == status(str(tmp_path / "out"))["units"]["committed"] == 0
    (tmp_path / "teacher.json").write_text("{}")
    label(job, factories=FACTORIES)
    assert_as_undisturbed(tmp_path)
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_a_run_ends_when_its_output_is_moved_away_and_the_same_command_makes_a_complete_one(
    tmp_path: Path, world
) -> None:
    job, start = world
    process = start()
    wait_for_commits(process, tmp_path, 3)

    (tmp_path / "out").rename(tmp_path / "away")
    _, errors = process.communicate(timeout=30)

    assert process.returncode != 0
    assert "deleted, moved or replaced" in errors.splitlines()[-1]
    label(job, factories=FACTORIES)
    assert_as_undisturbed(tmp_path)
