"""Box arithmetic against hand-worked cases, an outside reference and its own laws."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from schemas.boxes import area, as_boxes, clip, iou, nms

SIDE = st.integers(0, 40)
BOX = st.tuples(SIDE, SIDE, st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def test_iou_of_a_hand_worked_pair_is_one_seventh() -> None:
    assert iou(as_boxes([0, 0, 2, 2]), as_boxes([1, 1, 3, 3]))[0, 0] == 1 / 7


def test_empty_inputs_give_empty_answers() -> None:
    none = as_boxes([])

    assert iou(none, as_boxes([0, 0, 1, 1])).shape == (0, 1)
    assert nms(none, np.zeros(0), 0.5) == []


def test_a_box_turned_inside_out_has_no_area_and_no_overlap() -> None:
    turned = as_boxes([5, 5, 2, 2])

    assert area(turned)[0] == 0
    assert iou(turned, turned)[0, 0] == 0


@given(st.lists(BOX, min_size=1, max_size=8), st.lists(BOX, min_size=1, max_size=8))
def test_iou_equals_pycocotools(first: list, second: list) -> None:
    a, b = as_boxes(first), as_boxes(second)

    def as_xywh(boxes: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1))

    theirs = coco_mask.iou(as_xywh(a), as_xywh(b), [0] * len(b))

    np.testing.assert_allclose(iou(a, b), theirs, atol=1e-12)


@given(st.lists(st.tuples(BOX, st.floats(0, 1)), max_size=12), st.floats(0.1, 0.9))
def test_nms_keeps_the_best_box_of_every_crowd(scored: list, threshold: float) -> None:
    boxes = as_boxes([box for box, _ in scored])
    scores = np.array([score for _, score in scored])

    kept = nms(boxes, scores, threshold)

    overlap = iou(boxes, boxes)
    assert all(overlap[i, j] <= threshold for i in kept for j in kept if i != j)
    for lost in set(range(len(boxes))) - set(kept):
        assert any(overlap[lost, k] > threshold and scores[k] >= scores[lost] for k in kept)


def test_clipping_cuts_to_the_image() -> None:
    assert clip(as_boxes([-3, -1, 50, 9]), 10, 8).tolist() == [[0, 0, 10, 8]]


@given(st.lists(st.tuples(BOX, st.floats(0, 1)), max_size=12), st.floats(0, 1))
def test_few_boxes_at_once_are_suppressed_as_many_one_by_one(scored: list, threshold: float) -> None:
    boxes = as_boxes([box for box, _ in scored])
    scores = np.array([score for _, score in scored])
    far = as_boxes([[1000 + 20 * i, 0, 1010 + 20 * i, 10] for i in range(100)])

    among_many = nms(np.concatenate((boxes, far)), np.concatenate((scores, np.full(100, -1.0))), threshold)

    assert [i for i in among_many if i < len(boxes)] == nms(boxes, scores, threshold)
