"""A small world on disk: a shard, a GLIP model with random weights, and the evidence that it gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app
from tests.engine.worlds import sample_members, tar_bytes
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture

CAPTIONS = ("a red circle and a blue star", "the green ring", "stock photo of a red square", "two stars")


@dataclass(frozen=True)
class SmallWorld:
    """Paths of what `label` read and wrote."""

    shard: Path
    model: Path
    evidence: Path


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory, glip_folder: Path) -> SmallWorld:  # noqa: F811
    """Label four samples with batches of one, as a teacher of one image works."""
    folder = tmp_path_factory.mktemp("world")
    members = [
        member
        for index, caption in enumerate(CAPTIONS)
        for member in sample_members(f"{index:05d}", caption, ("red", "green", "blue")[index % 3])
    ]
    world = SmallWorld(folder / "00000.tar", glip_folder, folder / "evidence")
    world.shard.write_bytes(tar_bytes(members))
    job = {
        "input": {"urls": [str(world.shard)], "unit_samples": 3},
        "teacher": {"kind": "glip", "model": str(glip_folder), "device": "cpu"},
        "output": {"url": str(world.evidence)},
        "run": {"executor": "local", "batch_size": 1},
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    answer = CliRunner().invoke(build_app(), ["label", str(folder / "job.yaml")])
    assert answer.exit_code == 0, answer.output
    return world
