"""One quick demo for all tests of the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app


@pytest.fixture(scope="session")
def quick_demo(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The folder in which `groundswell demo --quick` ran; what it made is in `.demo`."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        answer = CliRunner().invoke(build_app(), ["demo", "--quick"])
    assert answer.exit_code == 0, answer.stderr[-3000:]
    return folder
