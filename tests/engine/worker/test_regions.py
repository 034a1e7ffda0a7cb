from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.worker.region_filter import evidence_regions
from schemas.boxes import as_boxes, iou
from schemas.errors import SampleRejectedError
from schemas.records import Phrase, Pixels, Region, Sample
from schemas.settings import EvidenceSettings

SAMPLE = Sample(
    unit="u",
    shard="s",
    index=0,
    key="k",
    pixels=Pixels(url="s"),
    image_sha256="0" * 64,
    caption="a cat and a dog",
    width=100,
    height=80,
    phrases=(
        Phrase(begin=0, end=5, text="a cat", root="cat"),
        Phrase(begin=10, end=15, text="a dog", root="dog"),
    ),
)
EVIDENCE = EvidenceSettings(min_score=0.1, nms_iou=0.5, max_regions_per_phrase=3)
NUMBER = st.floats(-20, 120, width=32)
REGIONS = st.lists(
    st.builds(
        Region,
        phrase=st.integers(0, 1),
        x0=NUMBER,
        y0=NUMBER,
        x1=NUMBER,
        y1=NUMBER,
        score=st.floats(0, 1, width=32),
    ),
    max_size=12,
)


def region(score: float, phrase: int = 0, box: tuple[float, ...] = (10, 10, 30, 30)) -> Region:
    return Region(phrase=phrase, x0=box[0], y0=box[1], x1=box[2], y1=box[3], score=score)


@given(REGIONS, st.randoms())
def test_the_order_of_the_teachers_answers_does_not_matter(
    regions: list[Region], shuffle: random.Random
) -> None:
    other = list(regions)
    shuffle.shuffle(other)

    assert evidence_regions(SAMPLE, regions, EVIDENCE) == evidence_regions(SAMPLE, other, EVIDENCE)


@given(REGIONS)
def test_what_is_kept_keeps_the_evidence_settings(regions: list[Region]) -> None:
    rows, truncated = evidence_regions(SAMPLE, regions, EVIDENCE)

    for phrase in (0, 1):
        mine = [row for row in rows if row["phrase"] == phrase]
        assert len(mine) <= 3 and (phrase not in truncated or len(mine) == 3)
        assert [row["score"] for row in mine] == sorted((row["score"] for row in mine), reverse=True)
        boxes = as_boxes([[row[name] for name in ("x0", "y0", "x1", "y1")] for row in mine])
        assert (iou(boxes, boxes)[~np.eye(len(mine), dtype=bool)] <= 0.5).all()
    for row in rows:
        assert row["score"] >= 0.1
        assert 0 <= row["x0"] < row["x1"] <= 100 and 0 <= row["y0"] < row["y1"] <= 80
        assert all(float(np.float32(row[name])) == row[name] for name in ("x0", "y0", "x1", "y1", "score"))


def test_a_phrase_that_the_cap_cuts_is_named() -> None:
    apart = [region(0.5, 1, (20 * i, 0, 20 * i + 10, 10)) for i in range(4)]

    rows, truncated = evidence_regions(SAMPLE, apart, EVIDENCE)

    assert (len(rows), truncated) == (3, {1})


def test_suppression_is_per_phrase() -> None:
    rows, _ = evidence_regions(SAMPLE, [region(0.9, 0), region(0.8, 0), region(0.7, 1)], EVIDENCE)

    assert [(row["phrase"], round(row["score"], 3)) for row in rows] == [(0, 0.9), (1, 0.7)]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (region(float("nan")), "TEACHER_NONFINITE"),
        (region(0.5, 0, (0, 0, float("inf"), 5)), "TEACHER_NONFINITE"),
        (region(0.5, 2), "TEACHER_ERROR"),
        (region(1.5), "TEACHER_ERROR"),
        (Region(phrase=0, x0=0, y0=0, x1=1, y1=1, score=0.5, quality=float("nan")), "TEACHER_NONFINITE"),
    ],
)
def test_an_answer_that_cannot_be_is_rejected(bad: Region, code: str) -> None:
    with pytest.raises(SampleRejectedError) as caught:
        evidence_regions(SAMPLE, [region(0.9), bad], EVIDENCE)

    assert caught.value.code == code
