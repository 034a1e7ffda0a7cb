"""One-to-one assignment: places are never shared and no choice has a greater total score."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.compile.assignment import assign_one_to_one
from schemas.boxes import as_boxes, iou, nms

SAME = 0.6

# few places with small shifts, so that chains of overlap (a like b, b like c, a not like c) are common
_box = st.builds(
    lambda place, dx, dy, w: (place * 40 + dx, dy, place * 40 + dx + 20 + w, dy + 20),
    st.integers(0, 2),
    st.integers(0, 9),
    st.integers(0, 3),
    st.integers(0, 4),
)
_region = st.tuples(st.integers(0, 3), _box, st.integers(0, 100).map(lambda s: s / 100))


def _arrays(regions: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    phrases, boxes, scores = zip(*regions, strict=True) if regions else ((), (), ())
    return np.array(phrases, dtype=np.int64), as_boxes(boxes), np.array(scores, dtype=np.float64)


def total_score(chosen: list[int], scores: np.ndarray) -> float:
    return float(scores[chosen].sum())


def _allowed(chosen: list[int], phrases: np.ndarray, overlap: np.ndarray) -> bool:
    own_phrase = len({int(phrases[i]) for i in chosen}) == len(chosen)
    return own_phrase and all(overlap[a, b] < SAME for a in chosen for b in chosen if a < b)


def _brute_force(phrases: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> float:
    overlap = iou(boxes, boxes)
    choices = [[None, *np.flatnonzero(phrases == phrase)] for phrase in np.unique(phrases)]
    picks = ([int(i) for i in pick if i is not None] for pick in product(*choices))
    return max(total_score(pick, scores) for pick in picks if _allowed(pick, phrases, overlap))


def _greedy(phrases: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> float:
    overlap = iou(boxes, boxes)
    chosen: list[int] = []
    for i in nms(boxes, scores, 1.0):  # nothing suppressed: best first
        if _allowed([*chosen, i], phrases, overlap):
            chosen.append(i)
    return total_score(chosen, scores)


@settings(max_examples=150, deadline=None)
@given(st.lists(_region, max_size=9))
def test_the_total_score_equals_brute_force_and_no_place_is_shared(regions: list) -> None:
    phrases, boxes, scores = _arrays(regions)

    chosen = assign_one_to_one(phrases, boxes, scores, SAME)

    assert _allowed(chosen, phrases, iou(boxes, boxes))
    assert abs(total_score(chosen, scores) - _brute_force(phrases, boxes, scores)) < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.lists(_region, min_size=20, max_size=60))
def test_many_regions_are_never_worse_than_greedy(regions: list) -> None:
    phrases, boxes, scores = _arrays(regions)

    chosen = assign_one_to_one(phrases, boxes, scores, SAME)

    assert _allowed(chosen, phrases, iou(boxes, boxes))
    assert total_score(chosen, scores) >= _greedy(phrases, boxes, scores) - 1e-6


def test_a_contested_box_goes_where_it_adds_most() -> None:
    # "a dog" sees the lynx as a dog (0.9) and the real dog (0.8); "a lynx" sees only the lynx (0.7)
    lynx, dog = (0, 0, 50, 50), (100, 0, 160, 50)
    phrases, boxes, scores = _arrays([(0, lynx, 0.9), (0, dog, 0.8), (1, lynx, 0.7)])

    assert assign_one_to_one(phrases, boxes, scores, SAME) == [1, 2]


def test_a_chain_of_overlaps_is_solved_by_pairs_and_not_as_one_place() -> None:
    # each neighbour overlaps by more than 0.6, the two ends by less: both ends may be kept, the middle not with them
    left, middle, right = (0, 0, 100, 10), (20, 0, 120, 10), (40, 0, 140, 10)
    phrases, boxes, scores = _arrays([(0, left, 0.6), (1, middle, 0.7), (2, right, 0.6)])
    assert iou(boxes, boxes)[0, 1] >= SAME > iou(boxes, boxes)[0, 2]

    assert assign_one_to_one(phrases, boxes, scores, SAME) == [0, 2]


def test_no_region_gives_no_choice() -> None:
    assert assign_one_to_one(*_arrays([]), SAME) == []
