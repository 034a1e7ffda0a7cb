"""One job on a real Ray of several nodes, while its actors, drivers and nodes are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.snapshots.status import status
from engine.ledger.verify import verify
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import load_latest_progress
from pipelines.label.run import label
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, plain_captions, write_shard
from tests.suites.chaos.ray_nodes import Nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]
SEED = 11
SCRIPT = """
import logging, sys
from pathlib import Path
from pipelines.label.run import label
from pipelines.label.job import JobConfig
from schemas.errors import GroundswellError
from tests.engine.small_teacher import FACTORIES
logging.basicConfig(level=logging.WARNING)
try:
    label(JobConfig.model_validate_json(Path(sys.argv[1]).read_text()), factories=FACTORIES)
except KeyboardInterrupt:
    sys.exit(130)
except GroundswellError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def ray_environment(folder: Path, root: Path, mode: str) -> dict[str, str]:
    (folder / "token").write_text("a token of this test alone")
    (folder / "token").chmod(0o600)
    hidden = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    chosen = {"RAY_AUTH_MODE": mode, "PYTHONPATH": str(root)}
    return kept | chosen | ({"RAY_AUTH_TOKEN_PATH": str(folder / "token")} if mode == "token" else {})


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> dict[str, str]:
    return ray_environment(tmp_path_factory.mktemp("ray"), project_root, "token")


@pytest.fixture(scope="module")
def nodes(environment: dict[str, str]) -> Iterator[Nodes]:
    """Start a head without CPUs. Every test adds its own nodes and removes them."""
    cluster = Nodes(environment)
    yield cluster
    cluster.close()


class Job:
    """A job whose driver runs in its own process."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        address: str,
        units: int,
        sleep_s: float = 0.1,
        **run: object,
    ):
        self.folder, self.units, self._environment = folder, units, environment
        self._logs: list[Path] = []
        shards = [write_shard(folder / f"{n}.tar", plain_captions(80)) for n in range(units // 10)]
        self.undisturbed = job_of(folder, shards, output={"url": str(folder / "undisturbed")})
        label(self.undisturbed, factories=FACTORIES)
        (folder / "teacher.json").write_text(f'{{"sleep_s": {sleep_s}, "announce": "{folder}"}}')
        section = {"executor": "ray", "actors": {"min": 1, "max": 4}, "address": address, **run}
        job = job_of(folder, shards, run=section)
        (folder / "job.json").write_text(job.model_dump_json())

    def start(self) -> None:
        """Start a driver: the first, or one after another."""
        self._logs.append(self.folder / f"driver-{len(self._logs)}.log")
        with open(self._logs[-1], "w") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(self.folder / "job.json")],
                env=self._environment,
                stderr=log,
                stdout=log,
            )

    def commits(self) -> int:
        return len(list((self.folder / "out" / "commits").rglob("*.json")))

    def wait_for(self, reached: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.driver.poll() is None, (
                f"the driver ended with {self.driver.returncode}: {self.read_logs()}"
            )
            assert time.monotonic() < deadline, f"{self.commits()} commits: {self.read_logs()}"
            time.sleep(0.02)

    def read_logs(self) -> str:
        return "".join(log.read_text() for log in self._logs)

    def charged_retries(self) -> dict[str, int]:
        """What the last run had to hand out again at a unit's or shard's expense, by code."""
        progress = load_latest_progress(open_store(str(self.folder / "out")))
        assert progress is not None, self.said()
        return dict(Counter(progress.retries) - Counter(progress.uncharged))

    def actors(self) -> list[int]:
        """Return the process ids of actors with a teacher."""
        found = [int(path.name.removeprefix("worker-")) for path in self.folder.glob("worker-*")]
        return [process for process in found if _command(process).startswith(b"ray::")]

    def check_as_undisturbed(self) -> dict[str, int]:
        """Check that nothing is lost or doubled and that the bytes are those of an undisturbed run."""
        out = str(self.folder / "out")
        assert status(out)["units"] == {
            "planned": self.units,
            "committed": self.units,
            "failed": 0,
            "pending": 0,
            "quarantined": 0,
        }
        store = open_store(out)
        rows = Counter((row["unit"], row["index"]) for row in evidence_rows(store, latest_snapshot(store)))
        assert len(rows) == self.units * 8
        assert verify(out)["digest"] == status(str(self.folder / "undisturbed"))["digest"]
        assert data_files(self.folder / "out") == data_files(self.folder / "undisturbed")
        assert self.commits() == self.units
        return {"lost": self.units * 8 - len(rows), "doubled": sum(rows.values()) - len(rows)}


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_twenty_actors_three_drivers_and_two_nodes_go_and_every_row_is_there_once(
    tmp_path: Path, nodes: Nodes, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    job = Job(tmp_path, environment, nodes.address, units=150)
    for _ in range(2):
        nodes.add(2)
    deaths = ["actor"] * 20 + ["driver"] * 3 + ["node"] * 2
    chance.shuffle(deaths)
    killed: set[int] = set()
    began = time.monotonic()
    job.start()

    for number, death in enumerate(deaths, 1):
        job.wait_for(lambda: job.commits() >= 5 * number)  # noqa: B023
        if death == "actor":
            job.wait_for(lambda: bool(set(job.actors()) - killed))
            process = chance.choice(sorted(set(job.actors()) - killed))
            killed.add(process)
            os.kill(process, signal.SIGKILL)
        elif death == "driver":
            job.driver.kill()
            job.driver.wait()
            job.start()
        else:
            nodes.remove(chance.choice(nodes.nodes))
            nodes.add(2)
    left = job.units - job.commits()
    assert job.driver.wait(timeout=200) == 0, job.read_logs()

    took_s = time.monotonic() - began
    for node in list(nodes.nodes):
        nodes.remove(node)
    figures = job.check_as_undisturbed()
    assert left > 0 and len(killed) == 20
    with capsys.disabled():
        print(
            f"\n{Counter(deaths)['actor']} actors, 3 drivers and 2 nodes killed in {took_s:.0f} s over {job.units} "
            f"units: {figures['lost']} lost, {figures['doubled']} doubled, bytes identical (seed {SEED})"
        )


ACCIDENTS = {3: "deadly", 90: "segfaulting", 170: "selfexiting", 171: "neverending", 239: "memorygorging"}


def test_poisons_of_every_kind_cost_themselves_alone(
    tmp_path: Path, nodes: Nodes, environment: dict[str, str]
) -> None:
    job = Job(
        tmp_path,
        environment,
        nodes.address,
        units=30,
        sleep_s=0.01,
        actors={"min": 1, "max": 2},
        stuck_after_s=8,
        sample_timeout_s=8,
        memory_limit_gb=0.6,
    )
    captions = [plain_captions(80) for _ in range(3)]
    for number, accident in ACCIDENTS.items():
        captions[number // 80][number % 80] += f" {accident}"
    for number, shard in enumerate(captions):
        write_shard(tmp_path / f"{number}.tar", shard)
    nodes.add(2)

    job.start()

    assert job.driver.wait(timeout=200) == 0, job.read_logs()
    nodes.remove(nodes.nodes[0])
    summary = verify(str(tmp_path / "out"))
    assert summary["failures"] == [], job.read_logs()
    assert summary["samples"]["rejected"] == {"CRASH": 3, "TIMEOUT": 1, "OOM": 1}
    assert summary["samples"]["labelled"] == 235
    assert (summary["units"]["committed"], summary["units"]["quarantined"]) == (30, 4)


def test_a_node_that_is_to_be_preempted_hands_its_work_on_and_nobody_is_charged(
    tmp_path: Path, nodes: Nodes, environment: dict[str, str]
) -> None:
    job = Job(tmp_path, environment, nodes.address, units=40, sleep_s=0.3, actors={"min": 1, "max": 2})
    going = nodes.add(2)
    job.start()
    job.wait_for(lambda: job.commits() >= 4 and len(job.actors()) == 2)
    before = set(job.actors())

    nodes.add(2)
    nodes.drain(going)

    job.wait_for(lambda: not before & set(job.actors()))  # they left by themselves, before the node did
    assert job.commits() < job.units
    nodes.remove(going)
    assert job.driver.wait(timeout=100) == 0, job.read_logs()
    assert job.read_logs().count("is going; its actor gets no more work") == 2
    assert job.charged_retries() == {}, job.read_logs()
    nodes.remove(nodes.nodes[0])
    job.check_as_undisturbed()


def test_a_run_waits_for_nodes_when_it_has_lost_all_of_them(
    tmp_path: Path, nodes: Nodes, environment: dict[str, str]
) -> None:
    job = Job(tmp_path, environment, nodes.address, units=20, sleep_s=0.3, actors={"min": 1, "max": 2})
    only = nodes.add(1)
    job.start()
    job.wait_for(lambda: job.commits() >= 4)

    nodes.remove(only)
    standing = job.commits()
    job.wait_for(lambda: not job.actors())
    nodes.add(1)
    nodes.add(1)  # and one more than it had: the pending actor joins

    job.wait_for(lambda: len(job.actors()) == 2)
    assert standing < job.units
    assert job.driver.wait(timeout=100) == 0, job.read_logs()
    assert job.charged_retries() == {}, job.read_logs()  # a node's death is no unit's fault
    for node in list(nodes.nodes):
        nodes.remove(node)
    job.check_as_undisturbed()


@pytest.mark.parametrize("grace_s", [60, 0.1])
def test_sigterm_ends_a_driver_on_ray_with_everything_published(
    tmp_path: Path, nodes: Nodes, environment: dict[str, str], grace_s: float
) -> None:
    """With time, units that are with a teacher are finished. Without, they are given up. Both are reported."""
    job = Job(tmp_path, environment, nodes.address, units=40, actors={"min": 1, "max": 2}, grace_s=grace_s)
    nodes.add(2)
    job.start()
    job.wait_for(lambda: job.commits() >= 4)

    job.driver.send_signal(signal.SIGTERM)

    assert job.driver.wait(timeout=60) == 130, job.read_logs()
    units = status(str(tmp_path / "out"))["units"]
    assert 4 - 2 <= units["committed"] < units["planned"]  # two answers may have been on their way
    if grace_s == 60:
        assert units["committed"] == job.commits()
    assert job.charged_retries() == {}, job.read_logs()
    job.start()
    assert job.driver.wait(timeout=100) == 0, job.read_logs()
    assert job.charged_retries() == {}, job.read_logs()  # what the first run gave up counts as no attempt
    nodes.remove(nodes.nodes[0])
    job.check_as_undisturbed()


def test_a_cluster_without_tokens_is_refused_unless_that_is_allowed(
    tmp_path: Path, project_root: Path
) -> None:
    open_to_all = ray_environment(tmp_path, project_root, "disabled")
    cluster = Nodes(open_to_all)
    cluster.add(1)
    job = Job(tmp_path, open_to_all, cluster.address, units=10)

    job.start()

    assert job.driver.wait(timeout=60) == 6
    assert "answers without a token" in job.read_logs() and "--insecure-cluster" in job.read_logs()
    assert job.commits() == 0
    allowed = JobConfig.model_validate_json((tmp_path / "job.json").read_text())
    run = allowed.run.model_copy(update={"allow_unauthenticated": True})
    (tmp_path / "job.json").write_text(allowed.model_copy(update={"run": run}).model_dump_json())
    job.start()
    assert job.driver.wait(timeout=100) == 0, job.read_logs()
    cluster.close()
    job.check_as_undisturbed()
