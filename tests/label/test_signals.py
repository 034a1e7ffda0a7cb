"""Signals to a driver or its process group at any moment: exit 130 in time, nothing lost, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.ledger.snapshots.status import status
from engine.ledger.verify import verify
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import load_latest_progress
from pipelines.label.run import label
from tests.engine.process_tree import Tree
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, plain_captions, write_shard

GRACE_S, MARGIN_S, BUSY_S = 15.0, 4.0, 5.0  # BUSY_S: what a loaded machine adds
UNITS = 30
SCRIPT = """
import sys
from pathlib import Path
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from tests.engine.small_teacher import FACTORIES
try:
    label(JobConfig.model_validate_json(Path(sys.argv[1]).read_text()), factories=FACTORIES)
except KeyboardInterrupt:
    sys.exit(130)
"""


class Driver:
    """A driver that leads a process group, as a shell or `timeout` starts one."""

    def __init__(self, folder: Path, root: Path, executor: str) -> None:
        self._folder, self._root = folder, root
        shards = [write_shard(folder / f"{number}.tar", plain_captions(80)) for number in range(UNITS // 10)]
        label(job_of(folder, shards, output={"url": str(folder / "undisturbed")}), factories=FACTORIES)
        (folder / "teacher.json").write_text('{"sleep_s": 0.1}')
        run = {
            "executor": executor,
            "actors": {"min": 1, "max": 2},
            "cpus_per_actor": 0.5,
            "grace_s": GRACE_S,
        }
        (folder / "job.json").write_text(job_of(folder, shards, run=run).model_dump_json())
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the driver."""
        with open(self._folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(self._folder / "job.json")],
                env=os.environ | {"PYTHONPATH": str(self._root)},
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
        self._processes.append(self.process)
        self.tree = Tree(self.process.pid)

    def wait_for(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not reached():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            self.tree.look()
            time.sleep(0.02)

    def commits(self) -> int:
        return len(list((self._folder / "out" / "commits").rglob("*.json")))

    def has_begun(self) -> bool:
        """Return whether the run has begun. From then on it handles signals."""
        return any((self._folder / "out" / "progress").glob("*.json"))

    def signal(self, number: int, group: bool = True) -> None:
        (os.killpg if group else os.kill)(self.process.pid, number)

    def ended(self, within_s: float) -> int:
        """Return the exit code."""
        return self.process.wait(timeout=within_s + BUSY_S)

    def said(self) -> str:
        return (self._folder / "log").read_text()

    def check_nothing_is_lost(self) -> None:
        """Check that nothing is lost: another run gives the rows of an undisturbed one."""
        before = self.commits()
        job = JobConfig.model_validate_json((self._folder / "job.json").read_text())
        (self._folder / "teacher.json").write_text("{}")
        here = job.model_copy(update={"run": job.run.model_copy(update={"executor": "local"})})
        summary = label(here, factories=FACTORIES)
        assert summary["units"]["committed"] == self.commits() == UNITS >= before
        assert data_files(self._folder / "out") == data_files(self._folder / "undisturbed")
        assert verify(str(self._folder / "out"))["digest"] == summary["digest"]

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def driver(tmp_path: Path, project_root: Path, request: pytest.FixtureRequest) -> Iterator[Driver]:
    made = Driver(tmp_path, project_root, getattr(request, "param", "ray"))
    yield made
    made.close()


def units(folder: Path) -> dict[str, int]:
    return dict(status(str(folder / "out"))["units"])


@pytest.mark.ray
def test_a_sigterm_to_the_group_finishes_the_running_units_and_leaves_no_process(
    tmp_path: Path, driver: Driver
) -> None:
    driver.start()
    driver.wait_for(lambda: driver.commits() >= 2)
    own = os.getsid(driver.process.pid)
    assert driver.tree.names() >= {"gcs_server", "raylet"}
    assert own not in {process.session for process in driver.tree.found.values()}

    driver.signal(signal.SIGTERM)

    assert driver.ended(GRACE_S + MARGIN_S) == 130, driver.said()
    assert driver.tree.left_after(10) == []
    assert 2 <= units(tmp_path)["committed"] == driver.commits() < UNITS
    driver.check_nothing_is_lost()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", [True, False], ids=["group", "process"])
def test_a_second_signal_ends_a_driver_on_ray_at_once(driver: Driver, number: int, group: bool) -> None:
    driver.start()
    driver.wait_for(lambda: driver.commits() >= 2)

    driver.signal(number, group)
    time.sleep(0.5)
    driver.signal(number, group)

    assert driver.ended(MARGIN_S) == 130, driver.said()
    assert driver.tree.left_after(10) == []
    driver.check_nothing_is_lost()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_driver_whose_ray_is_dead_and_the_record_names_it(
    tmp_path: Path, driver: Driver, number: int
) -> None:
    driver.start()
    driver.wait_for(lambda: driver.commits() >= 2)
    for process in driver.tree.found.values():
        if process.name == "gcs_server":
            os.kill(process.number, signal.SIGKILL)
    time.sleep(5)  # by now the driver waits in C++ code for the dead

    driver.signal(number)

    assert driver.ended(MARGIN_S + 1) == 130, driver.said()
    progress = load_latest_progress(open_store(str(tmp_path / "out")))
    assert progress is not None and progress.state == "interrupted"
    assert progress.error is None or "Ray is dead" in progress.error
    assert driver.tree.left_after(10) == []
    driver.check_nothing_is_lost()


MOMENTS = {
    "begun": lambda driver: driver.has_begun(),
    "gcs": lambda driver: "gcs_server" in driver.tree.names(),
    "raylet": lambda driver: "raylet" in driver.tree.names(),
    "workers": lambda driver: any(name.startswith("ray::") for name in driver.tree.names()),
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_sigterm_to_the_group_while_ray_starts_ends_with_130(
    driver: Driver, moment: str, times: int
) -> None:
    driver.start()
    driver.wait_for(lambda: MOMENTS[moment](driver))

    for _ in range(times):
        driver.signal(signal.SIGTERM)
        time.sleep(0.5)

    assert driver.ended(GRACE_S + MARGIN_S if times == 1 else MARGIN_S) == 130, driver.said()
    assert driver.tree.left_after(10) == []
    driver.check_nothing_is_lost()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_driver_that_is_killed_while_ray_starts_leaves_no_process(
    driver: Driver, moment: str, number: int
) -> None:
    driver.start()
    driver.wait_for(lambda: MOMENTS[moment](driver))

    driver.signal(number)

    assert driver.ended(0) == -number
    assert driver.tree.left_after(10) == []


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["local"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_of_a_local_driver_finishes_the_running_unit(
    tmp_path: Path, driver: Driver, number: int
) -> None:
    driver.start()
    driver.wait_for(lambda: driver.commits() >= 2)

    driver.signal(number)

    assert driver.ended(GRACE_S) == 130, driver.said()
    assert 2 <= units(tmp_path)["committed"] == driver.commits() < UNITS
    driver.check_nothing_is_lost()


STUCK = """
import contextlib, ctypes, sys, threading
from pipelines.terminal.interrupt import drain_on_signal
mutex = ctypes.create_string_buffer(128)  # all zero: a lock of C that Python's signal handlers cannot interrupt
with drain_on_signal(float(sys.argv[1])) as stopping:
    with contextlib.suppress(AttributeError):
        stopping.before_forced_exit = lambda why: print(why, flush=True)
    library = ctypes.CDLL(None)
    library.pthread_mutex_lock(mutex)
    threading.Timer(0.5, print, ("ready",), {"flush": True}).start()  # by then the main thread waits in C
    while True:
        library.pthread_mutex_lock(mutex)
"""


def test_a_main_thread_that_never_comes_back_from_c_is_ended_with_130_and_a_reason(
    project_root: Path,
) -> None:
    cases = {"0.1": [signal.SIGTERM], "60": [signal.SIGINT, signal.SIGINT], "59": [signal.SIGTERM] * 2}
    children = {}
    try:
        for grace_s in cases:
            children[grace_s] = subprocess.Popen(
                [sys.executable, "-c", STUCK, grace_s],
                env=os.environ | {"PYTHONPATH": str(project_root)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        for grace_s, numbers in cases.items():
            assert children[grace_s].stdout.readline() == "ready\n"
            for number in numbers:
                children[grace_s].send_signal(number)
                time.sleep(0.5)
        for grace_s, numbers in cases.items():
            said, errors = children[grace_s].communicate(timeout=MARGIN_S + BUSY_S)
            assert children[grace_s].returncode == 130
            assert said.startswith(f"{numbers[0].name} came") and said.strip() in errors
    finally:
        for child in children.values():
            child.kill()
            child.communicate()


def test_a_sigterm_ends_a_command_that_has_nothing_to_finish_with_130(
    tmp_path: Path, project_root: Path
) -> None:
    os.mkfifo(tmp_path / "captions.txt")  # nobody writes: the command waits for ever
    child = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "phrases", "--file", str(tmp_path / "captions.txt")],
        env=os.environ | {"PYTHONPATH": str(project_root)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    writer = os.open(tmp_path / "captions.txt", os.O_WRONLY)  # returns when the command reads

    child.send_signal(signal.SIGTERM)

    try:
        said, errors = child.communicate(timeout=10 + BUSY_S)
    finally:
        child.kill()
        os.close(writer)
    assert (child.returncode, said) == (130, "") and errors.startswith("interrupted")
