"""A measure names one number of an evaluation, of all categories or of one group."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.rounds.layout import locate_round
from pipelines.rounds.measure import compute_gain, get_number
from pipelines.rounds.settings import Measure, RoundsConfig
from student.evaluate.run import evaluate

FOUND = {
    "AP": 0.4,
    "recall_at": {"1": 0.8, "5": 0.9},
    "groups": {"tail": {"AP": 0.1, "recall_at": {"1": 0.3, "5": -1.0}}, "head": {"AP": -1.0}},
}


@pytest.mark.parametrize(
    ("group", "name", "number"),
    [
        ("", "AP", 0.4),
        ("tail", "AP", 0.1),
        ("", "R@1", 0.8),
        ("tail", "R@1", 0.3),
        ("tail", "R@5", None),
        ("head", "AP", None),
        ("head", "R@1", None),
        ("tial", "AP", None),
        ("tial", "R@1", None),
    ],
)
def test_a_measure_is_of_its_own_group_and_none_where_there_is_no_number(
    group: str, name: str, number: float | None
) -> None:
    assert get_number(FOUND, Measure(suite="held_out", name=name, group=group)) == number


def test_the_gain_is_of_the_images_that_were_evaluated(
    rounds_config: Callable[..., RoundsConfig], tmp_path: Path
) -> None:
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 9, 9]} for n in (1, 2)]
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in (1, 2)]
    gold = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    suite = {"name": "held_out", "gold": str(tmp_path / "gold.json")}
    config = rounds_config(evaluate=[suite], target={"suite": "held_out"})
    places = locate_round(tmp_path, 1)
    for name, rows in (("student", [{**boxes[0], "score": 0.9}]), ("control", [])):
        places.results("held_out", name).parent.mkdir(parents=True, exist_ok=True)
        places.results("held_out", name).write_text(json.dumps(rows))
    found = {"student": {"AP": 1.0, "left_out": [2]}, "control": {"AP": 0.0, "left_out": [2]}}

    gain = compute_gain(config, places, {"held_out": found})

    assert gain is not None and gain["value"] == pytest.approx(1.0)


def test_images_without_pixels_are_named(shared_data: Path) -> None:
    folder = shared_data / "real_gold"
    report = evaluate(
        shared_data / "real_teacher" / "yolox_nano.onnx",
        folder / "instances.json",
        folder / "images",
        bootstrap=0,
    )

    assert len(report["left_out"]) == 97 - 40 == report["images"]["gold"] - report["images"]["evaluated"]
