"""COCO numbers against the published demo and against pycocotools on random worlds."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from schemas.errors import ConfigError
from student.evaluate.bootstrap import weigh_numbers
from student.evaluate.coco import coco_numbers
from student.evaluate.matching import NAMES, match_detections, mean_of_defined


def random_world(seed: int, images: int = 12, categories: int = 4) -> tuple[dict, list[dict]]:
    """Gold with crowds and an unused category; detections near gold boxes, far from them, and tied in score."""
    rng = np.random.default_rng(seed)
    gold, results = [], []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 300, 2)
            w, h = np.exp(rng.uniform(np.log(8), np.log(250), 2))
            category = int(rng.integers(1, categories))
            crowd = int(rng.random() < 0.15)
            box = [float(x), float(y), float(w), float(h)]
            gold.append(
                {
                    "id": len(gold) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": float(w * h * rng.uniform(0.4, 1)),
                    "iscrowd": crowd,
                }
            )
            for _ in range(rng.integers(0, 3)):
                shaken = [float(v + rng.normal() * 0.1 * w) for v in box[:2]] + [float(v) for v in (w, h)]
                score = float(np.round(rng.random(), 1))
                results.append({"image_id": image, "category_id": category, "bbox": shaken, "score": score})
        if rng.random() < 0.5:
            results.append(
                {"image_id": image, "category_id": 1, "bbox": [5.0, 5.0, 40.0, 40.0], "score": 0.5}
            )
    world = {
        "images": [
            {"id": i, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in range(1, images + 1)
        ],
        "categories": [{"id": i, "name": f"c{i}"} for i in range(1, categories + 1)],
        "annotations": gold,
    }
    return world, results


def oracle(gold: dict, results: list[dict], category_ids: list[int] | None = None) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(gold))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "bbox")
        if category_ids:
            evaluation.params.catIds = category_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, map(float, evaluation.stats), strict=True))


def test_the_coco_demo_gives_its_twelve_published_numbers(shared_data):
    folder = shared_data / "real_gold" / "third_party"
    gold = json.loads((folder / "cocoapi_instances_val2014_100.json").read_text())
    results = json.loads((folder / "cocoapi_instances_val2014_fakebbox100_results.json").read_text())
    expected = json.loads((folder / "cocoapi_fakebbox100_EXPECTED.json").read_text())["bbox"]

    numbers = coco_numbers(gold, results)

    assert {name: round(numbers[name], 3) for name in NAMES} == expected


@pytest.mark.parametrize("seed", range(12))
def test_numbers_equal_pycocotools_on_random_worlds_with_crowds(seed):
    gold, results = random_world(seed)

    assert coco_numbers(gold, results) == pytest.approx(oracle(gold, results), abs=1e-9)


def test_a_group_equals_pycocotools_restricted_to_its_categories():
    gold, results = random_world(7)

    numbers = coco_numbers(gold, results, groups={"head": [1, 2], "tail": [3], "unused": [4]})

    assert numbers["groups"]["head"] == pytest.approx(oracle(gold, results, [1, 2]), abs=1e-9)
    assert numbers["groups"]["tail"] == pytest.approx(oracle(gold, results, [3]), abs=1e-9)
    assert set(numbers["groups"]["unused"].values()) == {-1.0}


def test_an_empty_results_list_scores_zero_and_keeps_minus_one_without_gold():
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 200, 200]}
    gold = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "thing"}], "annotations": [box]}

    numbers = coco_numbers(gold, [])

    assert numbers["AP"] == 0 and numbers["APs"] == -1


@pytest.mark.parametrize("seed", range(4))
def test_bootstrap_with_every_image_once_is_the_plain_evaluation(seed):
    gold, results = random_world(seed)
    evaluation = match_detections(gold, results)

    values_KN = weigh_numbers(evaluation, np.ones((1, len(gold["images"]))))[0]

    plain = coco_numbers(gold, results)
    for n, name in enumerate(NAMES):
        assert mean_of_defined(values_KN[:, n]) == pytest.approx(plain[name], abs=1e-9), name


def test_bootstrap_with_an_image_twice_is_the_evaluation_of_a_gold_that_holds_it_twice():
    gold, results = random_world(3)
    for n, row in enumerate(results):
        row["score"] += n * 1e-4  # without ties the order of a doubled image's detections is the same
    evaluation = match_detections(gold, results)
    weights = np.ones((1, len(gold["images"])))
    weights[0, 0] = 2

    values_KN = weigh_numbers(evaluation, weights)[0]

    again = [a | {"id": a["id"] + 1000, "image_id": 99} for a in gold["annotations"] if a["image_id"] == 1]
    twice = {
        **gold,
        "images": [*gold["images"], {"id": 99, "width": 640, "height": 480}],
        "annotations": gold["annotations"] + again,
    }
    plain = coco_numbers(twice, results + [r | {"image_id": 99} for r in results if r["image_id"] == 1])
    for n, name in enumerate(NAMES):
        assert mean_of_defined(values_KN[:, n]) == pytest.approx(plain[name], abs=1e-9), name


def test_intervals_hold_the_point_and_are_the_same_for_the_same_seed():
    gold, results = random_world(5, images=30)

    first = coco_numbers(gold, results, groups={"head": [1, 2]}, bootstrap=60, seed=3)

    low, high = first["ci"]["AP"]
    assert low < first["AP"] < high
    assert first["groups"]["head"]["ci"]["AP50"][0] <= first["groups"]["head"]["AP50"]
    assert first == coco_numbers(gold, results, groups={"head": [1, 2]}, bootstrap=60, seed=3)


def test_a_detection_of_an_unknown_image_is_an_error_that_names_it():
    gold, _ = random_world(0)

    with pytest.raises(ConfigError, match="4711"):
        coco_numbers(gold, [{"image_id": 4711, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}])
