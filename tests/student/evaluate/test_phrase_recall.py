"""Phrase Recall@k by hand-worked cases."""

import numpy as np
import pytest

from schemas.records import Region
from student.evaluate.gold.images import EvaluationImage
from student.evaluate.gold.load import gold_phrases, phrase_categories
from student.evaluate.phrases import GroundedPhrase, phrase_recall, recall_by_group
from student.evaluate.run import _ground_phrases

GOLD = np.array([[0, 0, 10, 10], [50, 50, 60, 60]])
MISS, ON_SECOND = [20, 20, 30, 30], [50, 50, 60, 59]


def asked(boxes, scores, image=0, gold=GOLD) -> GroundedPhrase:
    return GroundedPhrase(image, gold, np.array(boxes).reshape(-1, 4), np.array(scores))


def test_a_hit_at_rank_two_counts_at_five_and_not_at_one():
    recall = phrase_recall([asked([ON_SECOND, MISS], [0.3, 0.9])])

    assert recall == {"1": 0.0, "5": 1.0, "10": 1.0}


def test_any_box_of_the_phrase_is_enough_unless_merged_is_asked():
    phrase = asked([ON_SECOND], [0.9])

    assert phrase_recall([phrase])["1"] == 1
    assert phrase_recall([phrase], merged=True)["1"] == 0
    assert phrase_recall([asked([[0, 0, 60, 60]], [0.9])], merged=True)["1"] == 1


class Sees:
    """A model that sees the same regions in every image."""

    needed_size = None

    def __init__(self, *boxes: list[int]) -> None:
        places = (dict(zip(("x0", "y0", "x1", "y1"), map(float, box))) for box in boxes)
        self.regions = [Region(phrase=0, score=0.9 - n / 100, **place) for n, place in enumerate(places)]

    def ground_phrases(self, images, captions, phrases):
        for record in images:
            yield EvaluationImage(record, np.zeros((60, 60, 3), np.uint8), (60, 60)), self.regions


class Records:
    def __init__(self, records: list[dict]) -> None:
        self.records = records

    def read(self, label: str, needed_size: None) -> list[dict]:
        return self.records


def test_near_copies_of_a_wrong_box_take_one_of_the_k_places():
    image = {"id": 1, "width": 60, "height": 60, "caption": "a cat"}
    told = {"image_id": 1, "category_id": 1, "bbox": [50, 50, 10, 10], "tokens_positive": [[0, 5]]}
    sees = Sees(*([20, 20, 30, 40 + n] for n in range(8)), ON_SECOND)

    phrases = list(_ground_phrases(sees, {"images": [image], "annotations": [told]}, Records([image])))  # type: ignore[arg-type]

    assert phrase_recall(phrases) == {"1": 0.0, "5": 1.0, "10": 1.0}


def test_iou_of_exactly_one_half_is_a_hit():
    assert phrase_recall([asked([[0, 0, 10, 5]], [0.5])])["1"] == 1


def test_a_phrase_without_predictions_is_a_miss_and_one_without_gold_is_not_counted():
    phrases = [asked([], []), asked([ON_SECOND], [1.0]), asked([MISS], [1.0], gold=np.zeros((0, 4)))]

    assert phrase_recall(phrases)["1"] == 0.5


def test_nothing_asked_gives_minus_one():
    assert phrase_recall([], bootstrap=5) == {
        "1": -1,
        "5": -1,
        "10": -1,
        "ci": {k: [-1, -1] for k in ("1", "5", "10")},
    }


def test_the_interval_is_over_images_not_phrases():
    one_image = [asked([ON_SECOND], [1.0]), asked([MISS], [1.0])]
    two_images = [asked([ON_SECOND], [1.0], image="a"), asked([MISS], [1.0], image="b")]

    assert phrase_recall(one_image, bootstrap=50)["ci"]["1"] == pytest.approx([0.5, 0.5])
    assert phrase_recall(two_images, bootstrap=50)["ci"]["1"] == [0.0, 1.0]


def test_a_group_counts_the_phrases_with_a_box_of_its_categories():
    phrases = [
        GroundedPhrase(0, GOLD, np.array([ON_SECOND]), np.array([0.9]), frozenset({1})),
        GroundedPhrase(0, GOLD, np.array([MISS]), np.array([0.9]), frozenset({1, 2})),
    ]

    found = recall_by_group(phrases, {"head": [1], "tail": [2, 3], "none": [4]})

    assert [found[name]["1"] for name in ("head", "tail", "none")] == [0.5, 0.0, -1.0]


def test_categories_stand_in_the_order_of_the_phrases():
    def row(spans, category, crowd=0):
        return {
            "image_id": 7,
            "bbox": [0, 0, 1, 1],
            "tokens_positive": spans,
            "category_id": category,
            "iscrowd": crowd,
        }

    gold = {
        "images": [{"id": 7, "caption": "a cat, a dog"}],
        "annotations": [row([[7, 12]], 2), row([[0, 5]], 1), row([[0, 5]], 3), row([[0, 5]], 9, crowd=1)],
    }

    assert [phrase.text for phrase in gold_phrases(gold)[0][7]] == ["a cat", "a dog"]
    assert phrase_categories(gold) == {7: [frozenset({1, 3}), frozenset({2})]}
