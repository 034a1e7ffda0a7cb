"""GLIP's inclusive pixels and our half-open ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from teacher.grounding.regions import make_regions, to_half_open, to_inclusive


def test_a_one_pixel_box_goes_there_and_back():
    one_pixel = [[7.0, 3.0, 8.0, 4.0]]

    assert to_inclusive(one_pixel).tolist() == [[7, 3, 7, 3]]
    assert to_half_open(to_inclusive(one_pixel), width=20, height=10).tolist() == one_pixel


def test_the_whole_image_goes_there_and_back():
    assert to_half_open([[0, 0, 19, 9]], width=20, height=10).tolist() == [[0, 0, 20, 10]]


@given(st.lists(st.integers(0, 99), min_size=4, max_size=4))
def test_boxes_inside_the_image_go_there_and_back(sides):
    x0, x1 = sorted(sides[:2])
    y0, y1 = sorted(sides[2:])
    box = np.array([[x0, y0, x1 + 1, y1 + 1]], dtype=float)

    assert to_half_open(to_inclusive(box), width=100, height=100).tolist() == box.tolist()


def test_one_is_added_after_scaling_and_the_image_is_not_left():
    # 50 network pixels over a stored width of 100: inclusive column 49 is scaled to 98 and ends at 99.
    found = {
        "scores": torch.tensor([0.9, 0.3, 0.04]),
        "labels": torch.tensor([1, 0, 1]),
        "boxes": torch.tensor([[0.0, 0.0, 98.0, 38.0], [99.5, 10.0, 99.5, 39.5], [0, 0, 1, 1]]),
    }

    regions = make_regions(found, phrases=[4, 6], size=(40, 100), min_score=0.05, pass_index=2)

    assert [(r.phrase, r.x0, r.y0, r.x1, r.y1) for r in regions] == [
        (6, 0, 0, 99, 39),
        (4, 99.5, 10, 100, 40),
    ]
    assert [r.score for r in regions] == pytest.approx([0.9, 0.3]) and {r.pass_index for r in regions} == {2}
