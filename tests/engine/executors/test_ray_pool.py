from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from engine.executors.ray_cluster import NODES_METHOD, check_reachable, refuse_open_cluster
from engine.worker.import_check import check_packages, package_root
from pipelines.label.run import label
from schemas.errors import RuntimeEnvironmentError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, plain_captions, write_shard

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def on_ray(folder: Path, shards: list[Path], actors: int, output: str, **run: object):
    section = {"executor": "ray", "actors": {"min": actors, "max": actors}, "cpus_per_actor": 0.5, **run}
    return job_of(folder, shards, run=section, output={"url": str(folder / output)})


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [write_shard(tmp_path / f"{n}.tar", plain_captions(20)) for n in range(3)]


def test_one_actor_two_actors_and_no_actor_write_the_same_bytes(tmp_path: Path, shards: list[Path]) -> None:
    jobs = {
        "none": job_of(tmp_path, shards, output={"url": str(tmp_path / "none")}),
        "one": on_ray(tmp_path, shards, 1, "one"),
        "two": on_ray(tmp_path, shards, 2, "two"),
    }

    summaries = {name: label(job, factories=FACTORIES) for name, job in jobs.items()}

    assert data_files(tmp_path / "one") == data_files(tmp_path / "two") == data_files(tmp_path / "none")
    assert len(data_files(tmp_path / "one")) == 9
    assert len({summary["digest"] for summary in summaries.values()}) == 1


def kill_workers(output: Path, times: int) -> None:
    """Kill workers that wrote their process ids, so many of them."""
    killed: set[int] = set()
    deadline = time.monotonic() + 60
    while len(killed) < times and time.monotonic() < deadline:
        for path in output.glob("worker-*"):
            process = int(path.name.removeprefix("worker-"))
            if process not in killed and len(killed) < times:
                killed.add(process)
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def test_actors_that_are_killed_are_replaced_and_nothing_is_lost_or_doubled(
    tmp_path: Path, shards: list[Path]
) -> None:
    undisturbed = label(on_ray(tmp_path, shards, 1, "undisturbed"), factories=FACTORIES)
    (tmp_path / "teacher.json").write_text(f'{{"sleep_s": 0.05, "announce": "{tmp_path}"}}')
    killer = threading.Thread(target=kill_workers, args=(tmp_path, 2))
    killer.start()

    summary = label(on_ray(tmp_path, shards, 2, "killed"), factories=FACTORIES)

    killer.join()
    assert len(list(tmp_path.glob("worker-*"))) > 2
    assert summary["digest"] == undisturbed["digest"]
    assert summary["units"]["quarantined"] == 0
    assert data_files(tmp_path / "killed") == data_files(tmp_path / "undisturbed")


def test_a_sample_that_kills_its_worker_is_found_and_its_mates_and_neighbours_are_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    captions = plain_captions(12)
    captions[0] += " that is hungry"  # the worker learns to ask in smaller batches before it dies
    captions[5] += " that is deadly"
    shard = write_shard(tmp_path / "a.tar", captions)
    (tmp_path / "teacher.json").write_text(f'{{"announce": "{tmp_path}", "say": "the driver is too old"}}')
    job = on_ray(tmp_path, [shard], 1, "out")
    job = job.model_copy(update={"input": job.input.model_copy(update={"unit_samples": 4})})

    summary = label(job, factories=FACTORIES)

    assert summary["units"] == {"planned": 3, "committed": 3, "failed": 0, "pending": 0, "quarantined": 1}
    assert summary["samples"]["rejected"] == {"CRASH": 1} and summary["samples"]["labelled"] == 11
    actors = 3  # the unit may have waited in the first behind the one before, which is isolated for nothing
    assert len(list(tmp_path.glob("worker-*"))) <= actors + 1 + (1 + 2 * 2)
    assert capsys.readouterr().out == ""  # Ray reports a dead worker on stdout
    assert "a teacher actor died" in caplog.text and "the driver is too old" in caplog.text
    kept = [path.read_text() for path in (tmp_path / "out" / "logs").iterdir()]
    assert 0 < len(kept) <= actors and all("the driver is too old\n" in text for text in kept)
    assert {batch_size_of(tmp_path / "out" / name) for name in data_files(tmp_path / "out")} == {b"1"}


def batch_size_of(path: Path) -> bytes | None:
    """Return the batch size in a file's provenance, if it was lowered."""
    import pyarrow.parquet as pq

    return pq.read_schema(path).metadata.get(b"groundswell.batch_size") if "data" in path.parts else b"1"


def test_a_worker_that_hangs_is_ended_and_its_sample_found(tmp_path: Path) -> None:
    captions = plain_captions(6)
    captions[3] += " that is neverending"
    shard = write_shard(tmp_path / "a.tar", captions)
    job = on_ray(tmp_path, [shard], 1, "out", stuck_after_s=1.5, sample_timeout_s=1.5)
    job = job.model_copy(update={"input": job.input.model_copy(update={"unit_samples": 2})})

    summary = label(job, factories=FACTORIES)

    assert summary["units"]["quarantined"] == 1 and summary["units"]["committed"] == 3
    assert summary["samples"]["rejected"] == {"TIMEOUT": 1}


def test_a_unit_that_takes_for_ever_on_one_worker_is_done_by_an_idle_one(
    tmp_path: Path, shards: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """The worker does not count as stuck yet: that would take `stuck_after_s`, five minutes."""
    expected = label(job_of(tmp_path, shards), factories=FACTORIES)["digest"]
    (tmp_path / "teacher.json").write_text(f'{{"stall": "{tmp_path / "stalled"}"}}')

    summary = label(on_ray(tmp_path, shards, 2, "late"), factories=FACTORIES)

    assert summary["digest"] == expected and summary["units"]["committed"] == 9
    assert "takes long; an idle worker tries it too" in caplog.text


def test_a_pool_that_finds_no_place_says_so_with_the_arithmetic(tmp_path: Path, shards: list[Path]) -> None:
    job = on_ray(tmp_path, shards, 2, "out", cpus_per_actor=500, placement_timeout_s=2)

    with pytest.raises(
        RuntimeEnvironmentError, match=r"0 of 2 teacher actors .* 500 CPU .* the cluster has \d+ CPU"
    ):
        label(job, factories=FACTORIES)


def test_a_teacher_that_cannot_be_made_ends_the_run_with_its_own_error(
    tmp_path: Path, shards: list[Path]
) -> None:
    (tmp_path / "teacher.json").write_text('{"refuse": true}')

    with pytest.raises(RuntimeEnvironmentError, match="no such accelerator"):
        label(on_ray(tmp_path, shards, 1, "out"), factories=FACTORIES)


def test_an_address_where_nothing_listens_is_reported_at_once() -> None:
    with pytest.raises(RuntimeEnvironmentError, match="cannot connect to 127.0.0.1:9 .*ray start --head"):
        check_reachable("127.0.0.1:9")
    check_reachable("auto")


def start_gcs(status: grpc.StatusCode) -> tuple[grpc.Server, str]:
    """Return a server in place of a cluster's head, with its address. It admits everybody or nobody."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if status is not grpc.StatusCode.OK:
            context.abort(status, "no token")
        return b""

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Everything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def test_a_cluster_that_lets_everybody_in_is_refused_and_ours_is_not() -> None:
    import ray

    server, address = start_gcs(grpc.StatusCode.OK)
    with pytest.raises(RuntimeEnvironmentError, match=r"answers without a token.*--insecure-cluster"):
        refuse_open_cluster(address)
    server.stop(None)
    closed, address = start_gcs(grpc.StatusCode.UNAUTHENTICATED)
    refuse_open_cluster(address)
    closed.stop(None)

    refuse_open_cluster(ray.get_runtime_context().gcs_address)


@pytest.mark.parametrize("status", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE])
def test_a_cluster_whose_answer_proves_nothing_is_refused(status: grpc.StatusCode) -> None:
    server, address = start_gcs(status)

    with pytest.raises(RuntimeEnvironmentError, match=rf"got {status.name} .*no_proxy.*--insecure-cluster"):
        refuse_open_cluster(address)
    server.stop(None)


def test_the_method_that_is_asked_without_a_token_is_one_of_the_installed_ray() -> None:
    from ray.core.generated import gcs_service_pb2

    method = gcs_service_pb2.DESCRIPTOR.services_by_name["NodeInfoGcsService"].methods_by_name[
        "GetAllNodeInfo"
    ]

    assert f"/{method.containing_service.full_name}/{method.name}" == NODES_METHOD
    assert gcs_service_pb2.GetAllNodeInfoRequest().SerializeToString() == b""


def test_a_foreign_package_in_front_of_ours_is_named() -> None:
    root = package_root()
    ours = {"engine": f"{root}/engine/__init__.py"}

    check_packages(ours, root, "a Ray worker")
    with pytest.raises(RuntimeEnvironmentError, match="/home/me/engine/__init__.py, which shadows"):
        check_packages({"engine": "/home/me/engine/__init__.py"}, root, "a Ray worker")
    with pytest.raises(RuntimeEnvironmentError, match="cannot import 'schemas'"):
        check_packages({**ours, "schemas": None}, root, "a Ray worker")


SCRIPT = """
import json, os, stat, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])  # ours first on the driver, as an installed console script has it
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from tests.engine.small_teacher import FACTORIES
summary = label(JobConfig.model_validate_json(Path(sys.argv[1]).read_text()), factories=FACTORIES)
token = os.environ["RAY_AUTH_TOKEN_PATH"]
print(json.dumps([summary["digest"], oct(stat.S_IMODE(os.stat(token).st_mode)), token]))
"""


def test_a_run_from_a_folder_with_foreign_packages_uses_ours_and_keeps_its_token_private(
    tmp_path: Path, shards: list[Path], project_root: Path
) -> None:
    import json

    expected = label(job_of(tmp_path, shards[:1]), factories=FACTORIES)["digest"]
    (tmp_path / "job.json").write_text(on_ray(tmp_path, shards[:1], 1, "elsewhere").model_dump_json())
    for package in ("engine", "schemas"):
        (tmp_path / "foreign" / package).mkdir(parents=True)
        (tmp_path / "foreign" / package / "__init__.py").write_text(
            "raise RuntimeError('a foreign package was imported')"
        )
    hidden = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}

    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "job.json"), str(project_root)],
        cwd=tmp_path / "foreign",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert answer.returncode == 0, answer.stderr
    digest, mode, token = json.loads(answer.stdout)
    assert (digest, mode) == (expected, "0o600")
    assert not Path(token).exists()
