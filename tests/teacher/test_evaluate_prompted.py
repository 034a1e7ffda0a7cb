"""`evaluate` on a model that is asked by prompts: detections by category names, recall by the gold's own phrases."""

import json

import numpy as np
import pytest
from PIL import Image

from engine.work.run_unit import without_phrases
from schemas.records import Phrase, Pixels, Sample
from student.evaluate.predictors import detection_prompt
from student.evaluate.run import evaluate


@pytest.fixture
def world(tmp_path):
    """Three noise images of two sizes with a box and a phrase each."""
    gold = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 4, "name": "circle"}, {"id": 9, "name": "blue star"}],
    }
    for n in range(3):
        height, width = (96, 96) if n else (96, 128)
        pixels = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
        image = {"id": n + 1, "file_name": f"{n}.png", "width": 2 * width, "height": 2 * height}
        gold["images"].append({**image, "caption": "a circle of stock photo"})
        box = {"id": n + 1, "image_id": n + 1, "category_id": 4, "bbox": [0, 0, 60, 60]}
        gold["annotations"].append({**box, "tokens_positive": [[0, 8]]})
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    return tmp_path


def test_a_prompted_model_gets_all_numbers_with_intervals(glip_folder, world):
    seen = []

    report = evaluate(
        glip_folder, world / "gold.json", world, merged=True, bootstrap=20, batch_size=2,
        groups={"head": [4], "tail": [9]}, progress=lambda label, done, total: seen.append((label, done, total)),
    )  # fmt: skip

    assert report["detections"] > 0 and report["images"] == {"gold": 3, "evaluated": 3}
    assert 0 <= report["recall_at"]["1"] <= report["recall_at"]["10"] <= 1
    assert set(report["ci"]["recall_at"]) == {"1", "5", "10"} and "recall_at_merged" in report
    assert report["groups"]["tail"]["AP"] == -1 and report["groups"]["head"]["AP"] == report["AP"]
    assert seen[-1] == ("grounding", 3, 3) and "R@1" in report.text()


def test_a_name_that_no_prompt_can_hold_counts_as_not_found_and_is_told(glip_folder, world):
    gold = json.loads((world / "gold.json").read_text())
    gold["categories"][1]["name"] = endless = "blue star " * 200
    (world / "gold.json").write_text(json.dumps(gold))

    report = evaluate(glip_folder, world / "gold.json", world, bootstrap=0)

    assert report["unasked"] == {endless: 3} and report["phrases"] == 3
    assert "1 texts fit into no prompt" in report.text() and "of 3" in report.text()


def test_the_numbers_do_not_depend_on_the_batch_size(glip_folder, world):
    first, second = (
        evaluate(glip_folder, world / "gold.json", world, bootstrap=0, batch_size=size) for size in (1, 4)
    )

    assert first["recall_at"] == second["recall_at"] and first["AP"] == pytest.approx(second["AP"], abs=1e-3)


def test_a_detection_prompt_names_each_category_once():
    caption, phrases = detection_prompt(["cat", "traffic light"])

    assert caption == "cat. traffic light"
    assert [caption[phrase.begin : phrase.end] for phrase in phrases] == ["cat", "traffic light"]


def test_a_phrase_that_the_teacher_cannot_take_is_marked_and_listed_in_the_evidence():
    phrases = (
        Phrase(begin=0, end=5, text="a cat", root="cat"),
        Phrase(begin=6, end=11, text="a dog", root="dog"),
    )
    sample = Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="f"), image_sha256="0", caption="a cat a dog",
        width=9, height=9, phrases=phrases,
    )  # fmt: skip

    marked = without_phrases(sample, ((1, "PH_TOO_LONG"),))

    assert [phrase.groundable for phrase in marked.phrases] == [True, False]
    assert [(drop.text, drop.code) for drop in marked.dropped_phrases] == [("a dog", "PH_TOO_LONG")]
    assert without_phrases(sample, ()) is sample
