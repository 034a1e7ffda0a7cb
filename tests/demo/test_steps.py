"""The demo's steps refuse damaged or incomplete evidence, and leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.settings import RunSettings
from pipelines.config import load_settings
from pipelines.demo import parallel_train
from pipelines.demo.configs import make_job, make_trainings, write_configs
from pipelines.demo.layout import DemoLayout
from pipelines.demo.parallel_train import train_in_parallel
from pipelines.demo.recipe import Recipe
from pipelines.demo.run import TITLES, check_complete, delete_damaged
from pipelines.demo.world.build import build_world
from pipelines.demo.world.settings import WorldSettings
from pipelines.label.job import JobConfig
from schemas.errors import GroundswellError, UnfinishedError
from student.settings.train import TrainSettings
from tests.engine.process_tree import Tree
from tests.engine.worlds import tar_bytes

CHILD = (
    "import time; from pipelines.demo.parallel_train import tie_to_parent; tie_to_parent(); time.sleep(120)"
)
PARENT = (
    "import subprocess, sys, time\n"
    f"subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdin=subprocess.PIPE)\n"
    "print('started', flush=True)\n"
    "time.sleep(120)"
)


def test_a_labeling_run_with_holes_stops_the_demo() -> None:
    units = {"planned": 4, "committed": 4, "failed": 0, "pending": 0}
    assert check_complete({"units": units, "snapshot": 3}, "evidence") == {"units": units}

    with pytest.raises(GroundswellError, match="only 3 of 4 units are labeled, 1 failed"):
        check_complete({"units": {**units, "committed": 3, "failed": 1}}, "evidence")


def test_a_labeling_run_that_rejected_its_samples_stops_the_demo_with_exit_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.demo.initial_model import write_start
    from pipelines.demo.run import _DemoSteps

    places = DemoLayout(tmp_path)
    (places.world.folder / "web").mkdir(parents=True)
    (places.world.folder / "web/0.tar").write_bytes(tar_bytes([("0.txt", b"a red square")]))
    write_start(places.model("teacher"), WorldSettings())

    job = make_job(places)
    job = job.model_copy(update={"run": RunSettings(executor="local", batch_size=1)})
    monkeypatch.setattr("pipelines.demo.run.make_job", lambda places: job)
    steps = _DemoSteps(places, Recipe.quick(0), lambda *step: None)
    with pytest.raises(UnfinishedError, match="1 of 1 samples were rejected") as stopped:
        steps.label()
    assert stopped.value.exit_code == 3 and "IMG_MISSING 1" in str(stopped.value)


STAGES = {"teacher": "base/metrics.jsonl", "label": "evidence/commits", "train": "student/metrics.jsonl"}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", STAGES)
def test_a_sigterm_to_the_group_of_a_demo_ends_it_with_130_and_leaves_no_process(
    tmp_path: Path, project_root: Path, stage: str
) -> None:
    with (tmp_path / "log").open("wb") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "demo", "--quick", "--to", str(tmp_path / "demo")],
            cwd=project_root,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    tree = Tree(demo.pid)
    while not (tmp_path / "demo" / STAGES[stage]).exists():
        assert demo.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.2)
    tree.look()

    os.killpg(demo.pid, signal.SIGTERM)

    assert demo.wait(timeout=60) == 130, (tmp_path / "log").read_text()
    assert tree.left_after(10) == []
    if stage == "teacher":
        assert list((tmp_path / "demo/base/checkpoints").iterdir())


def test_damaged_evidence_is_deleted_and_intact_evidence_stays(tmp_path: Path) -> None:
    world, _ = build_world(tmp_path / "world", WorldSettings(gold_images=1, test_images=1, web_images=4))
    label_by_hand(world.folder, tmp_path / "evidence")
    delete_damaged(str(tmp_path / "evidence"))
    (data,) = (tmp_path / "evidence/data").rglob("*.parquet")
    data.unlink()

    delete_damaged(str(tmp_path / "evidence"))

    assert not (tmp_path / "evidence").exists()


def label_by_hand(world: Path, evidence: Path) -> None:
    """Label the world's web set in this process with the random start model."""
    from pipelines.demo.initial_model import write_start
    from pipelines.label.run import label

    job = {
        "input": {"urls": [str(world / "web/*.tar")]},
        "teacher": {"kind": "glip", "model": str(write_start(world.parent / "start", WorldSettings()))},
        "output": {"url": str(evidence)},
        "run": {"executor": "local", "batch_size": 4},
    }
    assert label(JobConfig.model_validate(job))["samples"]["in"] == 4


def test_every_step_promises_files_and_no_two_the_same(tmp_path: Path) -> None:
    promised = [path for step in TITLES for path in DemoLayout(tmp_path).outputs_of(step)]

    assert len(set(promised)) == len(promised) and all(path.is_relative_to(tmp_path) for path in promised)


def test_the_configurations_it_writes_are_the_ones_it_runs(tmp_path: Path) -> None:
    places, recipe = DemoLayout(tmp_path), Recipe(seed=3)
    write_configs(places, recipe)

    assert load_settings(places.config("job"), JobConfig) == make_job(places)
    for name, settings in make_trainings(places, recipe).items():
        assert load_settings(places.config(name), TrainSettings) == settings


def test_no_job_and_no_training_names_the_truth_or_the_test_set(tmp_path: Path) -> None:
    places = DemoLayout(tmp_path)
    write_configs(places, Recipe())
    told = "\n".join(file.read_text() for file in tmp_path.glob("*.yaml"))

    assert str(places.world.folder / "web") in told and places.world.gold_view in told
    for hidden in (places.world.web_truth.parent, places.world.test_coco.parent):
        assert str(hidden) not in told
        assert not hidden.is_relative_to(places.world.folder / "web")


def test_a_training_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline() == b"started\n"
    parent.send_signal(signal.SIGKILL)

    assert parent.stdout.read() == b""  # ends when nobody holds the pipe any more, the child included
    parent.stdout.close()
    parent.wait()


def test_a_training_that_is_done_ends_as_well_as_any_process() -> None:
    done = "from pipelines.demo.parallel_train import tie_to_parent; tie_to_parent(); print('done')"
    child = subprocess.Popen([sys.executable, "-c", done], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None

    assert (child.stdout.read(), child.wait()) == (b"done\n", 0)
    child.stdin.close()
    child.stdout.close()


def test_a_training_ends_when_the_next_one_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(config: Path, out: Path) -> subprocess.Popen[bytes]:
        started.append(start_training(config, out))
        return started[-1]

    start_training = parallel_train._start
    monkeypatch.setattr(parallel_train, "_start", start)
    (tmp_path / "file").touch()
    outs = {"student": tmp_path / "student", "control": tmp_path / "file/control"}

    with pytest.raises(NotADirectoryError):
        train_in_parallel(dict.fromkeys(outs, tmp_path / "none.yaml"), outs, 10, lambda *step: None)

    assert [process.returncode is not None for process in started] == [True]


def test_a_failed_training_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    configs = {"student": tmp_path / "nothing.yaml"}

    with pytest.raises(GroundswellError, match=r"(?s)training of student failed .*nothing.yaml"):
        train_in_parallel(configs, {"student": tmp_path / "student"}, 10, lambda label, done, total: None)
