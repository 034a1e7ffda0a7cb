"""ATSS on grids small enough to compute by hand."""

from __future__ import annotations

import torch

from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.assigner import assign

GRID = ((4, 4), (2, 2))
ANCHORS = grid_anchors(GRID, 2.0, torch.device("cpu"))  # 16-pixel anchors every 8 pixels, 32-pixel every 16
SIZES = [16, 4]


def owners(*boxes: tuple[float, float, float, float], top_k: int = 9) -> list[int]:
    return assign(ANCHORS, SIZES, [torch.tensor(boxes).view(-1, 4)], top_k)[0].tolist()


def test_an_image_without_boxes_assigns_nothing():
    assert owners() == [-1] * 20


def test_a_box_that_is_an_anchor_is_answered_by_that_anchor():
    box = tuple(ANCHORS[5].tolist())

    assert [index for index, owner in enumerate(owners(box)) if owner == 0] == [5]


def test_the_threshold_takes_the_unbiased_deviation():
    # One candidate of each level, overlapping by 1 and by some b. Mean + unbiased deviation is 1 + 0.2 (1 - b): even
    # the exact anchor fails. The biased deviation would give exactly 1 and keep it.
    box = tuple(ANCHORS[5].tolist())

    assert owners(box, top_k=1) == [-1] * 20


def test_an_anchor_claimed_by_two_boxes_goes_to_the_one_it_overlaps_more():
    exact = tuple(ANCHORS[5].tolist())
    shifted = (exact[0] + 2, exact[1], exact[2] + 2, exact[3])

    assert owners(shifted, exact)[5] == 1
    assert owners(exact, shifted)[5] == 0


def test_an_anchor_whose_centre_lies_outside_the_box_is_never_positive():
    box = (0.0, 0.0, 3.4, 3.4)  # all anchor centers are at 3.5 or beyond

    assert owners(box) == [-1] * 20


def test_the_boxes_order_does_not_change_who_answers():
    first, second = (2.0, 2.0, 20.0, 20.0), (10.0, 8.0, 30.0, 31.0)

    swapped = [{0: 1, 1: 0}.get(owner, -1) for owner in owners(second, first)]

    assert owners(first, second) == swapped


def test_images_are_assigned_apart_and_their_boxes_numbered_through():
    first, second = (
        torch.tensor([[2.0, 2.0, 20.0, 20.0]]),
        torch.tensor([[10.0, 8, 30, 31], [2.0, 2, 20, 20]]),
    )

    together = assign(ANCHORS, SIZES, [first, torch.zeros(0, 4), second], 9)
    alone = assign(ANCHORS, SIZES, [second], 9)[0]

    assert together[0].tolist() == assign(ANCHORS, SIZES, [first], 9)[0].tolist()
    assert together[1].tolist() == [-1] * 20
    assert together[2].tolist() == torch.where(alone >= 0, alone + 1, -1).tolist()
