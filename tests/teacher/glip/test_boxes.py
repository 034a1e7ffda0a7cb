"""Anchors, the box coder and the overlaps: GLIP's inclusive pixels, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.box_coder import decode, encode, generalized_iou, pairwise_iou

CPU = torch.device("cpu")


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_anchors_are_centred_between_pixels_and_walk_row_by_row():
    anchors = grid_anchors(((2, 3), (1, 2)), 8.0, CPU)

    assert anchors[0].tolist() == [-28, -28, 35, 35]
    assert anchors[1].tolist() == [-20, -28, 43, 35]
    assert anchors[3].tolist() == [-28, -20, 35, 43]
    assert anchors[6].tolist() == [-56, -56, 71, 71]
    assert len(anchors) == 8


def test_a_tiny_worlds_anchor_is_three_and_a_half_strides_wide():
    x0, _, x1, _ = grid_anchors(((1, 1),), 3.5, CPU)[0].tolist()

    assert x1 - x0 + 1 == 28


@settings(max_examples=50)
@given(
    st.tuples(*[st.floats(-200, 1000)] * 2, *[st.floats(1, 900)] * 2),
    st.tuples(*[st.floats(-200, 1000)] * 2, *[st.floats(16, 512)] * 2),
)
def test_decoding_what_was_encoded_gives_the_box_back(box, anchor):
    box, anchor = (boxes((x, y, x + w - 1, y + h - 1)) for x, y, w, h in (box, anchor))

    assert torch.allclose(decode(encode(box, anchor), anchor), box, atol=1e-6)


def test_zero_deltas_give_the_anchor_itself():
    anchor = boxes((-28, -28, 35, 35))

    assert decode(torch.zeros(1, 4, dtype=torch.float64), anchor).tolist() == anchor.tolist()


def test_a_size_grows_by_a_thousand_sixteenths_at_most():
    anchor = boxes((0, 0, 15, 15))

    x0, _, x1, _ = decode(torch.tensor([[0.0, 0, 100, 0]], dtype=torch.float64), anchor)[0].tolist()

    assert x1 - x0 + 1 == pytest.approx(1000)


def test_deltas_are_stretched_by_ten_and_five():
    anchor = boxes((0, 0, 9, 9))
    moved_and_doubled = boxes((-4, -5, 15, 14))

    assert encode(moved_and_doubled, anchor)[0].tolist() == pytest.approx(
        [10 * 0.1, 0, 5 * math.log(2), 5 * math.log(2)]
    )


def test_one_pixel_boxes_overlap_fully_with_themselves_and_not_with_a_neighbour():
    pixel, neighbour = boxes((3, 3, 3, 3)), boxes((4, 3, 4, 3))

    assert pairwise_iou(pixel, pixel).item() == 1
    assert pairwise_iou(pixel, neighbour).item() == 0


def test_overlap_counts_the_last_pixel():
    # 10 x 10 and 10 x 10 pixels that share 5 x 10: 50 / 150
    assert pairwise_iou(boxes((0, 0, 9, 9)), boxes((5, 0, 14, 9))).item() == pytest.approx(1 / 3)


def test_generalized_overlap_does_not_count_the_last_pixel():
    # 9 x 9 and 9 x 9 that share 4 x 9, enclosed by 14 x 9
    first, second = boxes((0, 0, 9, 9)), boxes((5, 0, 14, 9))

    assert generalized_iou(first, second).item() == pytest.approx(36 / 126)
    assert generalized_iou(first, first).item() == pytest.approx(1)


def test_generalized_overlap_of_boxes_apart_falls_with_the_gap():
    # two 10 x 10 boxes in an enclosure of 40 x 10: 0 - (400 - 200) / 400
    assert generalized_iou(boxes((0, 0, 10, 10)), boxes((30, 0, 40, 10))).item() == pytest.approx(-0.5)


def test_a_box_turned_inside_out_counts_as_empty():
    turned, box = boxes((10, 0, 0, 10)), boxes((0, 0, 10, 10))

    assert generalized_iou(turned, box).item() == pytest.approx(0, abs=1e-6)
