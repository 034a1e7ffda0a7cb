"""Whole commands offline with OmDet-Turbo and SAM 3: `label`, `evaluate` and the Python API."""

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
from teacher.settings import PhraseSettings
from tests.engine.worlds import write_shard
from tests.teacher.huggingface.tiny_omdet_sam import make_picture, save_omdet_turbo, save_sam3

SAVE = {"omdet-turbo": save_omdet_turbo, "sam3": save_sam3}
CAPTIONS = ("a red dog and a blue car", "", "the big cat of a red horse", "the circle")


@pytest.fixture(scope="module", params=list(SAVE))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, SAVE[request.param](tmp_path_factory.mktemp(request.param))


def test_label_writes_regions_that_the_python_api_gives_too(model, tmp_path):
    kind, folder = model
    write_shard(tmp_path / "a.tar", CAPTIONS)
    (tmp_path / "pool.txt").write_text("kite\ndrum\n")
    job = JobConfig.model_validate(
        {
            "input": {"urls": [str(tmp_path / "a.tar")]},
            "phrases": {"pipeline": "lexicon"},
            "teacher": {"kind": kind, "model": str(folder)},
            "output": {"url": str(tmp_path / "out")},
            "evidence": {"min_score": 0.05},
            "run": {"executor": "local", "batch_size": 2},
            "decoys": {"share": 1, "per_image": 2, "pool": str(tmp_path / "pool.txt")},
        }
    )

    label(job)

    store = open_store(str(tmp_path / "out"))
    rows = list(evidence_rows(store, latest_snapshot(store)))
    teacher = gs.load_teacher(
        folder, min_score=0.05, phrases=PhraseSettings(pipeline="lexicon"), device="cpu"
    )
    assert len(rows) == len(CAPTIONS) - 1
    for row in rows:
        own = [phrase for phrase in row["phrases"] if phrase["kind"] != "decoy"]
        regions = [region for region in row["regions"] if region["phrase"] < len(own)]
        alone = teacher.ground(gs.load_image(row), row["caption"])
        assert alone["phrases"] == own and len(own) < len(row["phrases"])
        assert regions == [pytest.approx(region, abs=1e-3) for region in alone["regions"]]
        assert {region["phrase"] for region in row["regions"]} <= set(range(len(row["phrases"])))
    assert sum(len(row["regions"]) for row in rows) > 0


def test_evaluate_reports_detections_and_recall(model, tmp_path):
    _, folder = model
    gold = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 4, "name": "Dog"}, {"id": 9, "name": "red car"}],
    }
    for number in range(2):
        Image.fromarray(make_picture(number)).save(tmp_path / f"{number}.png")
        image = {
            "id": number,
            "file_name": f"{number}.png",
            "width": 90,
            "height": 60,
            "caption": "a dog of a car",
        }
        gold["images"].append(image)
        box = {"id": number, "image_id": number, "category_id": 4, "bbox": [0, 0, 60, 50]}
        gold["annotations"].append({**box, "tokens_positive": [[0, 5]]})
    (tmp_path / "gold.json").write_text(json.dumps(gold))

    report = evaluate(folder, tmp_path / "gold.json", tmp_path, bootstrap=0, batch_size=2)

    assert report["detections"] > 0 and report["phrases"] == 2 and report["unasked"] == {}
