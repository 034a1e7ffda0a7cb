"""`label`, `evaluate` and the Python API with Grounding DINO and MM-Grounding-DINO, without a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

import groundswell as gs
from pipelines.cli import build_app
from schemas.rows import EvidenceRow
from student.evaluate.run import evaluate
from tests.engine.worlds import write_shard
from tests.teacher.huggingface.grounding_dinos import TinyDino, find_spans, read_directly

CAPTIONS = ("a red dog and two cats", "A horse. A man with a star", "a dog [SEP] a ring", "the car")
FLOOR = 0.01


@dataclass(frozen=True)
class Labeled:
    """What `label` did with four samples."""

    dino: TinyDino
    folder: Path
    rows: list[EvidenceRow]
    stderr: str


@pytest.fixture(scope="session")
def run_of_label(dino: TinyDino, tmp_path_factory: pytest.TempPathFactory) -> Labeled:
    """Label a shard by the command line. Every region above the floor is kept."""
    folder = tmp_path_factory.mktemp("labeled")
    job = {
        "input": {"urls": [str(write_shard(folder / "00000.tar", CAPTIONS))]},
        "teacher": {"kind": dino.kind, "model": str(dino.folder), "device": "cpu"},
        "output": {"url": str(folder / "out")},
        "evidence": {"min_score": FLOOR, "max_regions_per_phrase": 100, "nms_iou": 1.0},
        "run": {"executor": "local", "batch_size": 3},
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    answer = CliRunner().invoke(build_app(), ["label", str(folder / "job.yaml"), "--json"])
    assert answer.exit_code == 0, answer.output
    return Labeled(dino, folder / "out", list(gs.open_evidence(str(folder / "out"))), answer.stderr)


def test_a_shard_is_labeled_with_the_models_own_scores(run_of_label: Labeled) -> None:
    assert (
        "Loading" not in run_of_label.stderr
        and "Warning" not in run_of_label.stderr
        and len(run_of_label.rows) == 4
    )
    for row in run_of_label.rows:
        texts = [phrase["text"].lower() for phrase in row["phrases"]]
        prompt = ". ".join(texts) + "."
        direct = read_directly(
            run_of_label.dino, np.asarray(gs.load_image(row)), prompt, find_spans(prompt, texts)
        )
        assert len(texts) > 0
        for phrase in range(len(texts)):
            expected = np.sort(direct[(direct[:, 0] == phrase) & (direct[:, 2] >= FLOOR), 2])
            found = np.sort([region["score"] for region in row["regions"] if region["phrase"] == phrase])
            assert found == pytest.approx(expected, abs=1e-5)


def test_the_score_kind_is_written_to_the_evidence(run_of_label: Labeled) -> None:
    (file,) = (run_of_label.folder / "data").rglob("*.parquet")

    metadata = b" ".join(pq.read_schema(file).metadata.values()).decode()

    assert f"{run_of_label.dino.kind.replace('-', '_')}.token_score" in metadata


def test_one_image_gets_the_regions_that_label_wrote(run_of_label: Labeled) -> None:
    teacher = gs.load_teacher(run_of_label.dino.folder, device="cpu", min_score=FLOOR)

    for row in run_of_label.rows:
        grounded = teacher.ground(gs.load_image(row), row["caption"])

        assert grounded["phrases"] == row["phrases"] and grounded["regions"]
        scores = [region["score"] for region in row["regions"]]
        for region in grounded["regions"]:  # fewer, because they are suppressed by default
            assert np.abs(np.array(scores) - region["score"]).min() < 1e-5


def test_a_model_is_evaluated_by_its_classes_and_phrases(dino: TinyDino, tmp_path: Path) -> None:
    too_long = " ".join(["dog"] * 300)
    names = ["dog", "red car", too_long]
    gold: dict[str, list[dict[str, object]]] = {
        "images": [], "annotations": [], "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
    }  # fmt: skip
    for n, size in enumerate([(96, 128), (100, 150), (128, 96)], 1):
        pixels = np.random.default_rng(n).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
        image = {"id": n, "file_name": f"{n}.png", "width": size[1], "height": size[0], "caption": "a dog"}
        gold["images"].append(image)
        box = {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 60, 60], "tokens_positive": [[0, 5]]}
        gold["annotations"].append(box)
    (tmp_path / "gold.json").write_text(json.dumps(gold))

    reports = [
        evaluate(dino.folder, tmp_path / "gold.json", tmp_path, bootstrap=0, batch_size=size)
        for size in (1, 2)
    ]

    assert reports[0]["detections"] > 0 and reports[0]["images"] == {"gold": 3, "evaluated": 3}
    assert reports[0]["unasked"] == {too_long: 3} and reports[0]["phrases"] == 3
    assert reports[0]["recall_at"] == reports[1]["recall_at"]
    assert reports[0]["AP"] == pytest.approx(reports[1]["AP"], abs=1e-3)
