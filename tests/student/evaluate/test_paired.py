"""The difference of two models over the same images."""

from __future__ import annotations

import numpy as np
import pytest

from student.evaluate.coco import coco_numbers
from student.evaluate.paired import compare_results

GROUPS = {"head": [1], "tail": [2]}


def world(seed: int, images: int = 12) -> dict:
    rng = np.random.default_rng(seed)
    boxes = [
        {"image_id": i, "category_id": 1 + (n % 2), "bbox": [*rng.uniform(0, 60, 2).tolist(), 30.0, 30.0]}
        for i in range(images)
        for n in range(3)
    ]
    return {
        "images": [{"id": i, "width": 100, "height": 100} for i in range(images)],
        "categories": [{"id": 1, "name": "circle"}, {"id": 2, "name": "fish"}],
        "annotations": [{"id": n, "area": 900.0, "iscrowd": 0, **box} for n, box in enumerate(boxes, 1)],
    }


def answers(gold: dict, seed: int, shift: float) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": [row["bbox"][0] + float(rng.uniform(0, shift)), row["bbox"][1], 30.0, 30.0],
            "score": float(rng.uniform(0.1, 1)),
        }
        for row in gold["annotations"]
    ]


def test_a_model_against_itself_differs_by_exactly_nothing() -> None:
    gold = world(0)
    same = answers(gold, 1, shift=12)

    found = compare_results(gold, same, same, groups=GROUPS)

    assert found["tail"]["AP"] == {"value": 0, "low": 0, "high": 0}


def test_the_difference_is_that_of_the_two_evaluations() -> None:
    gold = world(0)
    ours, theirs = answers(gold, 1, shift=4), answers(gold, 2, shift=25)
    a, b = (coco_numbers(gold, rows, groups=GROUPS) for rows in (ours, theirs))

    found = compare_results(gold, ours, theirs, groups=GROUPS)

    assert found[""]["AP"]["value"] == pytest.approx(a["AP"] - b["AP"], abs=1e-6)
    assert found["tail"]["AP50"]["value"] == pytest.approx(
        a["groups"]["tail"]["AP50"] - b["groups"]["tail"]["AP50"], abs=1e-6
    )


def test_a_clear_gain_has_an_interval_above_nothing_and_turned_round_below() -> None:
    gold = world(0)
    good, bad = answers(gold, 1, shift=2), answers(gold, 2, shift=29)

    gain = compare_results(gold, good, bad, groups=GROUPS)[""]["AP"]
    loss = compare_results(gold, bad, good, groups=GROUPS)[""]["AP"]

    assert 0 < gain["low"] <= gain["value"] <= gain["high"]
    assert loss["high"] < 0


def test_a_number_without_gold_is_left_out() -> None:
    gold = world(0)

    found = compare_results(gold, answers(gold, 1, 4), answers(gold, 2, 4), groups=GROUPS)

    assert "APl" not in found[""] and "APs" in found[""]


def test_asking_for_fewer_numbers_changes_none_of_them() -> None:
    gold = world(0)
    ours, theirs = answers(gold, 1, shift=4), answers(gold, 2, shift=25)

    few = compare_results(gold, ours, theirs, groups=GROUPS, names=("AP", "AP50"))
    all_of_them = compare_results(gold, ours, theirs, groups=GROUPS)

    assert set(few[""]) == {"AP", "AP50"}
    assert few["tail"]["AP"] == all_of_them["tail"]["AP"]


def test_ids_that_are_text_compare_like_numbers() -> None:
    gold = world(0)
    ours, theirs = answers(gold, 1, shift=4), answers(gold, 2, shift=25)

    def named(rows: list[dict]) -> list[dict]:
        return [
            r | {"image_id": f"i{r['image_id']:02d}", "category_id": f"c{r['category_id']}"} for r in rows
        ]

    texts = {
        "images": [image | {"id": f"i{image['id']:02d}"} for image in gold["images"]],
        "categories": [category | {"id": f"c{category['id']}"} for category in gold["categories"]],
        "annotations": named(gold["annotations"]),
    }

    found = compare_results(texts, named(ours), named(theirs), groups={"head": ["c1"], "tail": ["c2"]})

    assert found == compare_results(gold, ours, theirs, groups=GROUPS)
