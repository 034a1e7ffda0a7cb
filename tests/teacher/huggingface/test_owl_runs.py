"""OWL-ViT and OWLv2 in the commands: a job, an evaluation, and the Python interface, all without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import groundswell as gs
from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from student.evaluate.run import evaluate
from teacher.registry import recognize_model
from tests.engine.worlds import write_shard
from tests.teacher.huggingface.tiny_owl import KINDS, make_picture, save_owls


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_owls(tmp_path_factory.mktemp("owl"))


def test_a_job_labels_a_shard(folders, kind, tmp_path):
    write_shard(tmp_path / "a.tar", ["a red circle and a blue star", "a star", "the"])
    (tmp_path / "pool.txt").write_text("kite\nbee\nbed\n")
    job = JobConfig.model_validate(
        {
            "input": {"urls": [str(tmp_path / "a.tar")]},
            "phrases": {"pipeline": "lexicon"},
            "teacher": {"kind": kind, "model": str(folders[kind])},
            "output": {"url": str(tmp_path / "out")},
            "run": {"executor": "local", "batch_size": 2},
            "decoys": {"share": 1, "pool": str(tmp_path / "pool.txt")},
        }
    )

    label(job)

    store = open_store(job.output.url)
    rows = list(evidence_rows(store, latest_snapshot(store)))
    assert len(rows) == 3
    for row in rows:
        asked = {number for number, phrase in enumerate(row["phrases"]) if phrase["groundable"]}
        assert {region["phrase"] for region in row["regions"]} == asked


def test_a_model_is_evaluated_on_gold(folders, kind, tmp_path):
    categories = [{"id": 4, "name": "circle"}, {"id": 9, "name": "blue star"}]
    image = {"id": 1, "file_name": "1.png", "width": 90, "height": 60, "caption": "a red circle"}
    box = {"id": 1, "image_id": 1, "category_id": 4, "bbox": [0, 0, 60, 40], "tokens_positive": [[0, 12]]}
    (tmp_path / "gold.json").write_text(
        json.dumps({"images": [image], "annotations": [box], "categories": categories})
    )
    Image.fromarray(make_picture(60, 90)).save(tmp_path / "1.png")

    report = evaluate(folders[kind], tmp_path / "gold.json", tmp_path, bootstrap=0)

    assert report["detections"] > 8 and report["unasked"] == {} and report["phrases"] == 1


def test_the_python_interface_knows_the_directory(folders, kind):
    assert recognize_model(folders[kind])[0] == kind

    row = gs.load_teacher(folders[kind], device="cpu").ground(make_picture(60, 90), "a red circle")

    assert {region["phrase"] for region in row["regions"]} == {0}
