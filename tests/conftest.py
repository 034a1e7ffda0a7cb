"""Fixtures that every test may use, and the one rule for tests that need inputs from outside the project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# A busy machine is no failure: property tests are not timed, and draw the same cases in every run.
settings.register_profile(
    "project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")

ROOT = Path(__file__).resolve().parent.parent


def _outside_folder(name: str) -> Path:
    """A folder of inputs that are not part of the project, or a skip that names what is missing."""
    shared = Path(os.environ.get("GROUNDSWELL_SHARED", ROOT.parent / "shared"))
    folder = shared / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name}, which is not here (set GROUNDSWELL_SHARED to point elsewhere)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs, shards, detectors and hostile files."""
    return _outside_folder("data")


@pytest.fixture(scope="session")
def shared_parity() -> Path:
    """Reference numbers of the authors' GLIP."""
    return _outside_folder("parity")


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The Ray cluster that `label` would start, one for the whole run; pools find it and leave it running."""
    from engine.executors.ray_cluster import cluster

    with cluster():
        yield


@pytest.fixture(scope="session")
def quick_demo(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The folder in which `groundswell demo --quick` ran, one for the whole run; what it made is in `.demo`."""
    from typer.testing import CliRunner

    from pipelines.cli import build_app

    folder = tmp_path_factory.mktemp("quick")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        answer = CliRunner().invoke(build_app(), ["demo", "--quick"])
    assert answer.exit_code == 0, answer.stderr[-3000:]
    return folder


@pytest.fixture(autouse=True)
def no_signal_watch_is_left() -> Iterator[None]:
    """Fail a test that leaves a signal watch, which would end the process at the signal of a later test."""
    from pipelines.terminal.interrupt import _SignalWatch

    yield
    left = list(_SignalWatch._active)
    for watch in left:
        watch.end()
    assert left == [], "the test left a signal watch running"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, a file stays in one of them, and all tests that need Ray share one: one cluster a run."""
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
