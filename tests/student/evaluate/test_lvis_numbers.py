"""LVIS AP and fixed AP against a plain reading of their rules, and against pycocotools where the rules are COCO's."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from schemas.boxes import iou
from schemas.errors import ConfigError
from student.evaluate.bootstrap import weigh_numbers
from student.evaluate.coco import coco_numbers
from student.evaluate.matching import NAMES, match_detections, mean_of_defined
from student.evaluate.paired import compare_results
from student.evaluate.protocols import PROTOCOLS, choose_rules, count_cut, limit_detections
from student.evaluate.report import Evaluation

GROUPS = {"rare": [1, 2], "common": [3], "frequent": [4, 5]}
AREAS = {"AP": (0, 1e10), "APs": (0, 1024), "APm": (1024, 9216), "APl": (9216, 1e10)}


def federated_world(seed: int, images: int = 14) -> tuple[dict, list[dict]]:
    """Gold that lists negatives and unexhausted categories; detections on gold, near it, and of unlisted categories."""
    rng = np.random.default_rng(seed)
    gold: list[dict] = []
    results: list[dict] = []
    records = []
    for image in range(1, images + 1):
        present = rng.choice(5, size=rng.integers(0, 4), replace=False) + 1
        absent = [int(c) for c in range(1, 6) if c not in present and rng.random() < 0.4]
        unsure = [int(c) for c in present if rng.random() < 0.3]
        lists = {"neg_category_ids": absent, "not_exhaustive_category_ids": unsure}
        records.append({"id": image, "width": 640, "height": 480, **lists})
        for category in present:
            for _ in range(rng.integers(1, 4)):
                x, y, w, h = (*rng.uniform(0, 300, 2), *np.exp(rng.uniform(2.2, 5.4, 2)))
                box = [float(v) for v in (x, y, w, h)]
                row = {"image_id": image, "category_id": int(category), "bbox": box, "area": float(w * h)}
                gold.append({"id": len(gold) + 1, **row})
                for _ in range(rng.integers(0, 3)):
                    shaken = [float(v + rng.normal() * 0.08 * w) for v in box[:2]] + box[2:]
                    results.append({"image_id": image, "category_id": int(category), "bbox": shaken})
        for _ in range(rng.integers(0, 5)):
            stray = {
                "image_id": image,
                "category_id": int(rng.integers(1, 6)),
                "bbox": [5.0, 5.0, 40.0, 40.0],
            }
            results.append(stray)
    scores = rng.permutation(len(results)) / max(len(results), 1)
    results = [{**row, "score": float(score)} for row, score in zip(results, scores, strict=True)]
    categories = [{"id": c, "name": f"c{c}"} for c in range(1, 6)]
    return {"images": records, "categories": categories, "annotations": gold}, results


def xyxy(rows: list[dict]) -> np.ndarray:
    boxes = np.array([row["bbox"] for row in rows], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def plain_ap(
    gold: dict, results: list[dict], category: int, threshold: float, area: tuple[float, float]
) -> float:
    """LVIS AP of one category, as the paper and lvis-api tell it, without any of our code but the IoU. -1: no gold."""
    found, wanted = [], 0
    for image in gold["images"]:
        truth = [
            a for a in gold["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category)
        ]
        if not truth and category not in image["neg_category_ids"]:
            continue
        counts = [area[0] <= a["area"] <= area[1] for a in truth]
        wanted += sum(counts)
        own = [r for r in results if (r["image_id"], r["category_id"]) == (image["id"], category)]
        own.sort(key=lambda row: -row["score"])
        overlaps = iou(xyxy(own), xyxy(truth))
        free = set(range(len(truth)))
        for number, row in enumerate(own):
            best = None
            for kind in (True, False):  # a box of this size first, then one that does not count
                fits = [
                    g for g in free if counts[g] is kind and overlaps[number, g] >= min(threshold, 1 - 1e-10)
                ]
                if fits:
                    best = max(fits, key=lambda g: overlaps[number, g])
                    break
            if best is not None:
                free.discard(best)
                ignored = not counts[best]
            else:
                outside = not area[0] <= row["bbox"][2] * row["bbox"][3] <= area[1]
                ignored = outside or category in image["not_exhaustive_category_ids"]
            if not ignored:
                found.append((row["score"], best is not None))
    if not wanted:
        return -1.0
    found.sort(key=lambda item: -item[0])
    hits = np.cumsum([hit for _, hit in found])
    precision = hits / np.arange(1, len(found) + 1) if found else np.zeros(0)
    recall = hits / wanted
    points = [precision[recall >= point].max(initial=0.0) for point in np.linspace(0, 1, 101)]
    return float(np.mean(points))


def plain_numbers(gold: dict, results: list[dict]) -> dict[str, float]:
    thresholds = np.linspace(0.5, 0.95, 10)
    numbers = {}
    for name, area in AREAS.items():
        table = np.array([[plain_ap(gold, results, c, t, area) for t in thresholds] for c in range(1, 6)])
        numbers[name] = mean_of_defined(table)
        if name == "AP":
            numbers |= {"AP50": mean_of_defined(table[:, 0]), "AP75": mean_of_defined(table[:, 5])}
            for short, group in (("APr", "rare"), ("APc", "common"), ("APf", "frequent")):
                numbers[short] = mean_of_defined(table[[c - 1 for c in GROUPS[group]]])
    return numbers


@pytest.mark.parametrize("seed", range(5))
def test_lvis_numbers_equal_a_plain_reading_of_the_rules(seed: int) -> None:
    gold, results = federated_world(seed)

    numbers = coco_numbers(gold, results, protocol="lvis", groups=GROUPS)

    expected = plain_numbers(gold, results)
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_where_every_category_is_listed_and_exhaustive_the_numbers_are_those_of_pycocotools(
    seed: int,
) -> None:
    gold, results = federated_world(seed)
    for image in gold["images"]:
        image |= {"neg_category_ids": [1, 2, 3, 4, 5], "not_exhaustive_category_ids": []}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(gold))
        for annotation in truth.dataset["annotations"]:
            annotation["iscrowd"] = 0
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = dict(zip(NAMES, map(float, evaluation.stats), strict=True))

    for protocol, recall in (("lvis", "AR300"), ("fixed_ap", "ARall")):
        numbers = coco_numbers(gold, results, protocol=protocol)

        expected[recall] = expected.get("AR100", expected.get("AR300", -1))
        same = [name for name in NAMES if name != "AR100"] + [recall]
        assert {n: numbers[n] for n in same} == pytest.approx({n: expected[n] for n in same}, abs=1e-9)


def one_box(image: int, category: int, **extra: Any) -> dict:
    return {"image_id": image, "category_id": category, "bbox": [0, 0, 50, 50], **extra}


def federated(images: list[tuple[list[int], list[int]]], boxes: list[tuple[int, int]]) -> dict:
    return {
        "images": [
            {"id": i, "neg_category_ids": absent, "not_exhaustive_category_ids": unsure}
            for i, (absent, unsure) in enumerate(images)
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [one_box(image, category, id=n) for n, (image, category) in enumerate(boxes, 1)],
    }


def ap(gold: dict, results: list[dict], protocol: str) -> float:
    return coco_numbers(gold, results, protocol=protocol)["AP"]


def test_a_detection_of_a_category_that_the_image_does_not_speak_of_is_no_error() -> None:
    hit, stray = one_box(0, 1, score=0.5), one_box(1, 1, score=0.9)

    assert ap(federated([([], []), ([], [])], [(0, 1)]), [hit, stray], "lvis") == pytest.approx(1)
    assert ap(federated([([], []), ([1], [])], [(0, 1)]), [hit, stray], "lvis") == pytest.approx(0.5)
    assert ap(federated([([], []), ([], [])], [(0, 1)]), [hit, stray], "coco") == pytest.approx(0.5)


def test_an_unmatched_detection_of_a_category_that_is_not_exhaustive_is_no_error() -> None:
    rows = [one_box(0, 1, score=0.5), {**one_box(0, 1, score=0.9), "bbox": [100, 100, 50, 50]}]

    assert ap(federated([([], [1])], [(0, 1)]), rows, "lvis") == pytest.approx(1)
    assert ap(federated([([], [])], [(0, 1)]), rows, "lvis") == pytest.approx(0.5)


def test_a_number_of_detections_replaces_the_300_of_an_image_and_says_so() -> None:
    gold = federated([([2], [])], [(0, 1)])
    crowd = [{**one_box(0, 2, score=0.9), "bbox": [n, 0, 5, 5]} for n in range(300)]
    rows = [*crowd, one_box(0, 1, score=0.1)]

    numbers = coco_numbers(gold, rows, protocol="lvis", max_detections=301)

    assert (numbers["AP"], numbers["AR301"]) == pytest.approx((1, 1))
    assert ap(gold, rows, "lvis") == 0 and count_cut(rows, choose_rules("lvis")) == 1
    assert count_cut(rows, choose_rules("lvis", 301)) == count_cut(rows, choose_rules("fixed_ap")) == 0
    assert coco_numbers(gold, rows, protocol="fixed_ap", max_detections=300)["ARall"] == 0


def test_a_rare_category_is_crowded_out_of_300_boxes_and_not_out_of_fixed_ap() -> None:
    gold = federated([([2], [])], [(0, 1)])
    crowd = [{**one_box(0, 2, score=0.9), "bbox": [n, 0, 5, 5]} for n in range(300)]
    rows = [*crowd, one_box(0, 1, score=0.1)]

    assert ap(gold, rows, "lvis") == 0
    assert ap(gold, rows, "fixed_ap") == pytest.approx(1)
    assert ap(gold, rows[1:], "lvis") == pytest.approx(1)


def test_fixed_ap_counts_ten_thousand_boxes_of_a_category_over_the_whole_data_set() -> None:
    crowd = [{**one_box(1, 1, score=0.9), "bbox": [n % 500, n // 500, 5, 5]} for n in range(10_000)]
    other = one_box(1, 2, score=0.1)
    last = one_box(0, 1, score=0.05)

    kept = limit_detections([*crowd, last, other], PROTOCOLS["fixed_ap"])

    assert last not in kept and other in kept and len(kept) == 10_001
    assert last in limit_detections([*crowd[1:], last, other], PROTOCOLS["fixed_ap"])
    gold = federated([([], []), ([1], [])], [(0, 1)])
    assert ap(gold, [*crowd, last], "fixed_ap") == 0 < ap(gold, [*crowd[1:], last], "fixed_ap")


def test_of_equal_scores_the_earlier_detection_counts_and_the_order_stays() -> None:
    rows = [one_box(0, 1, score=0.5, n=n) for n in range(302)] + [one_box(0, 2, score=0.9, n=-1)]

    kept = limit_detections(rows, PROTOCOLS["lvis"])

    assert [row["n"] for row in kept] == [*range(299), -1]


@pytest.mark.parametrize("protocol", ["lvis", "fixed_ap"])
def test_bootstrap_with_every_image_once_is_the_plain_evaluation(protocol: str) -> None:
    gold, results = federated_world(3)

    values_KN = weigh_numbers(
        match_detections(gold, results, PROTOCOLS[protocol]), np.ones((1, len(gold["images"])))
    )[0]

    plain = coco_numbers(gold, results, protocol=protocol)
    last = PROTOCOLS[protocol].recall
    for n, name in enumerate(NAMES):
        numbers = plain[last if name == "AR100" else name]
        assert mean_of_defined(values_KN[:, n]) == pytest.approx(numbers, abs=1e-9), name


def test_a_model_against_itself_differs_by_nothing_and_the_names_say_the_limit() -> None:
    gold, results = federated_world(1)

    difference = compare_results(gold, results, results, groups=GROUPS, protocol="fixed_ap", draws=20)
    numbers = coco_numbers(gold, results, protocol="fixed_ap", groups=GROUPS, bootstrap=20)

    assert difference["rare"]["AP"] == {"value": 0, "low": 0, "high": 0}
    assert "ARall" in numbers["ci"] and "AR100" not in numbers and "ARall" in numbers["groups"]["rare"]
    text = Evaluation(
        {**numbers, "protocol": "fixed_ap", "images": {"gold": 1, "evaluated": 1}, "detections": 1}
    ).text()
    assert "10,000 best detections of each category" in text and "ARall" in text


def test_gold_without_federated_lists_is_refused_under_federated_rules() -> None:
    gold = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [one_box(1, 1, id=1)],
    }

    assert ap(gold, [one_box(1, 1, score=1)], "coco") == pytest.approx(1)
    with pytest.raises(ConfigError, match="this gold has no such fields"):
        ap(gold, [], "fixed_ap")
