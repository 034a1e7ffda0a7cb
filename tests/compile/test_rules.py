"""Rules of a policy: every region is kept or counted once, and the rules do what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.views import check_row
from pipelines.compile.policy import Policy
from pipelines.compile.rules import RULES, Compiled, apply_policy
from schemas.boxes import as_boxes, iou
from schemas.errors import ConfigError
from schemas.settings import EvidenceSettings

WORDS = ("a dog", "a lynx", "a cat")
CAPTION = " and ".join(WORDS)
EVERYTHING = Policy(min_score=0, nms_iou=1, groundable_only=False)


def _row(regions: list[tuple], **phrase_fields: object) -> dict:
    """regions: (phrase, x0, y0, x1, y1, score); the last phrase is a decoy."""
    begins = [CAPTION.index(word) for word in WORDS]
    common = {"kind": "chunk", "groundable": True, "truncated": False, **phrase_fields}
    phrases = [
        {"begin": begin, "end": begin + len(word), "text": word, "root": word[2:], **common}
        for begin, word in zip(begins, WORDS, strict=True)
    ]
    phrases.append(
        {**phrases[0], "begin": None, "end": None, "text": "a yak", "root": "yak", "kind": "decoy"}
    )
    names = ("phrase", "x0", "y0", "x1", "y1", "score")
    extra = {"class_score": None, "quality": None, "pass_index": 0}
    rows = [dict(zip(names, region, strict=True)) | extra for region in regions]
    sample = {"unit": "u", "index": 0, "key": "k", "caption": CAPTION, "width": 200, "height": 100}
    return {**sample, "phrases": phrases, "dropped_phrases": [], "regions": rows}


def _kept(compiled: Compiled) -> list[tuple]:
    return [(region["phrase"], round(region["score"], 3)) for region in compiled.row["regions"]]


_score = st.floats(0, 1, width=32)
_regions = st.lists(
    st.builds(
        lambda phrase, x, y, w, h, score: (phrase, x, y, x + w, y + h, score),
        st.integers(0, 3),
        st.integers(0, 60),
        st.integers(0, 30),
        st.integers(0, 60),
        st.integers(0, 60),
        _score,
    ),
    max_size=14,
)
_policies = st.builds(
    lambda groundable_only, low, nms_iou, most, one_to_one, high, cap, merge, later: Policy(
        groundable_only=groundable_only,
        candidate_score=min(low, high) if low > 0.1 else None,
        nms_iou=nms_iou,
        max_candidates_per_phrase=most,
        one_to_one=one_to_one,
        min_score=max(low, high),
        max_regions_per_phrase=cap,
        merge_iou=merge,
        **({"ignore_score": max(low, high) * 0.9 if low <= 0.1 else None} if later else {}),
        class_only_below=max(low, high) + 0.2 if later else None,
        weight="score" if later else "one",
    ),
    st.booleans(),
    st.floats(0, 0.5),
    st.floats(0, 0.7),
    st.none() | st.integers(1, 3),
    st.booleans(),
    st.floats(0, 0.5),
    st.none() | st.integers(1, 3),
    st.none() | st.floats(0.1, 0.9),
    st.booleans(),
)


@settings(max_examples=120, deadline=None)
@given(_regions, _policies)
def test_every_region_is_kept_ignored_or_dropped_and_the_latter_two_counted_under_one_rule(
    regions: list, policy: Policy
) -> None:
    compiled = apply_policy(_row(regions), policy)

    ignored = sum(region["fate"] == "ignore" for region in compiled.row["regions"])
    assert ignored == compiled.ignored.total()
    assert len(compiled.row["regions"]) + compiled.dropped.total() == len(regions)
    assert compiled.dropped.keys() | compiled.ignored.keys() <= RULES.keys()
    check_row(compiled.row)


@settings(max_examples=60, deadline=None)
@given(_regions)
def test_one_to_one_gives_no_phrase_two_boxes_and_no_place_two_phrases(regions: list) -> None:
    kept = apply_policy(_row(regions), Policy(one_to_one=True, min_score=0)).row["regions"]

    boxes = as_boxes([[region[side] for side in ("x0", "y0", "x1", "y1")] for region in kept])
    assert len({region["phrase"] for region in kept}) == len(kept)
    assert (np.triu(iou(boxes, boxes), k=1) < 0.6).all()


@settings(max_examples=60, deadline=None)
@given(_regions, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_keeps_a_subset(regions: list, one: float, other: float) -> None:
    low, high = sorted((one, other))
    kept = [apply_policy(_row(regions), Policy(min_score=score)).row["regions"] for score in (low, high)]

    assert all(region in kept[0] for region in kept[1])


def test_a_phrase_without_a_kept_box_is_unresolved_and_a_decoy_absent() -> None:
    row = _row([(0, 0, 0, 10, 10, 0.9), (1, 0, 0, 10, 10, 0.2)])

    compiled = apply_policy(row, Policy())

    fates = [phrase["fate"] for phrase in compiled.row["phrases"]]
    assert fates == ["positive", "unresolved", "unresolved", "absent"]
    assert compiled.dropped == {"below_score": 1}


@pytest.mark.parametrize(("lowest", "fate"), [(None, "unresolved"), (0.3, "unresolved"), (0.31, "absent")])
def test_a_decoy_that_the_teacher_found_at_the_lower_threshold_is_not_called_absent(lowest, fate) -> None:
    compiled = apply_policy(_row([(3, 0, 0, 10, 10, 0.3)]), Policy(candidate_score=lowest))

    assert compiled.row["phrases"][3]["fate"] == fate
    assert compiled.row["regions"] == [] and compiled.dropped == {"decoy": 1}


def test_a_score_written_as_float32_is_not_below_the_same_threshold() -> None:
    score = float(np.float32(0.7))
    assert score < 0.7

    assert _kept(apply_policy(_row([(0, 0, 0, 10, 10, score)]), Policy(min_score=0.7))) == [(0, 0.7)]


def test_the_rare_phrase_wins_its_box_only_with_one_to_one() -> None:
    # the dog phrase scores the lynx's box higher than the lynx phrase does
    row = _row([(0, 0, 0, 50, 50, 0.9), (0, 100, 0, 150, 50, 0.8), (1, 0, 0, 50, 50, 0.7)])
    best_one = {"max_regions_per_phrase": 1}

    assert _kept(apply_policy(row, Policy(**best_one))) == [(0, 0.9), (1, 0.7)]
    assert _kept(apply_policy(row, Policy(**best_one, one_to_one=True))) == [(0, 0.8), (1, 0.7)]


def test_boxes_without_area_and_phrases_that_cannot_be_boxed_are_dropped_by_name() -> None:
    flat = _row([(0, 5, 5, 5, 10, 0.9)])
    vague = _row([(0, 0, 0, 10, 10, 0.9)], groundable=False)

    assert apply_policy(flat, EVERYTHING).dropped == {"no_area": 1}
    assert apply_policy(vague, Policy()).dropped == {"not_groundable": 1}
    assert apply_policy(vague, EVERYTHING).dropped == {}


def test_suppression_and_the_caps_work_per_phrase() -> None:
    twins = [
        (phrase, x, 0, x + 50, 50, score)
        for phrase in (0, 1)
        for x, score in ((0, 0.9), (2, 0.8), (100, 0.7))
    ]

    assert _kept(apply_policy(_row(twins), Policy())) == [(0, 0.9), (0, 0.7), (1, 0.9), (1, 0.7)]
    assert apply_policy(_row(twins), Policy()).dropped == {"overlap": 2}
    assert apply_policy(_row(twins), Policy(max_regions_per_phrase=1)).dropped == {
        "overlap": 2,
        "over_cap": 2,
    }
    assert apply_policy(_row(twins), Policy(max_candidates_per_phrase=1)).dropped["over_candidates"] == 2


def test_merging_gives_different_phrases_one_box_and_keeps_their_scores() -> None:
    row = _row([(0, 0, 0, 50, 50, 0.7), (1, 1, 0, 51, 50, 0.9), (2, 100, 0, 150, 50, 0.8)])

    compiled = apply_policy(row, Policy(merge_iou=0.75))

    assert compiled.merged == 1
    assert [(r["x0"], r["score"]) for r in compiled.row["regions"]] == [(1.0, 0.7), (1.0, 0.9), (100.0, 0.8)]


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"min_score": 0.01}, "min_score 0.01 (evidence: min_score 0.05)"),
        ({"candidate_score": 0.01}, "candidate_score 0.01 (evidence: min_score 0.05)"),
        ({"ignore_score": 0.01}, "ignore_score 0.01 (evidence: min_score 0.05)"),
        ({"nms_iou": 0.8}, "nms_iou 0.8 (evidence: nms_iou 0.7)"),
        ({"max_regions_per_phrase": 51}, "max_regions_per_phrase 51 (evidence: max_regions_per_phrase 50)"),
        (
            {"max_candidates_per_phrase": 51},
            "max_candidates_per_phrase 51 (evidence: max_regions_per_phrase 50)",
        ),
    ],
)
def test_a_policy_that_asks_for_what_is_gone_is_refused_with_both_values(policy: dict, named: str) -> None:
    Policy(min_score=0.05, nms_iou=0.7, max_regions_per_phrase=50).refuse_unless_held_by(EvidenceSettings())

    with pytest.raises(ConfigError) as refused:
        Policy(**policy).refuse_unless_held_by(EvidenceSettings())

    assert named in str(refused.value)


def test_every_field_of_the_policy_is_explained_and_changes_its_digest() -> None:
    assert all(field.description for field in Policy.model_fields.values())

    changes: list[dict] = [
        {"min_score": 0.6}, {"one_to_one": True}, {"merge_iou": 0.75}, {"nms_iou": 0.5}, {"ignore_score": 0.3},
        {"class_only_below": 0.6}, {"weight": "score"}, {"weight": "ramp", "weight_ramp": (0.1, 0.6)},
        {"calibration": {"score_kind": "glip", "points": [(0, 0), (1, 1)]}}, {"gold": {"urls": ["gold"]}},
        {"gold": {"urls": ["gold"], "iou": 0.6}},
    ]  # fmt: skip
    digests = {Policy(**change).digest() for change in [{}, *changes]}
    assert len(digests) == len(changes) + 1
    assert all(Policy(**Policy(**change).model_dump()) == Policy(**change) for change in changes)


def test_a_policy_that_says_nothing_of_later_fields_keeps_the_digest_that_it_had() -> None:
    demo = {"nms_iou": 0.5, "candidate_score": 0.2, "max_candidates_per_phrase": 3, "one_to_one": True}

    assert Policy().digest() == "sha256:7b7a1a407e399204a68bb4fd221d3b0e7fd509e6f1b1b234bedb2d242c158430"
    assert Policy(**demo, min_score=0.4, merge_iou=0.75).digest() == (
        "sha256:cf612f96ed823dfd8dab40d91d3d752286d571a7b711afb1635383184f2899f8"
    )


def test_candidates_below_a_higher_candidate_score_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="raise min_score instead"):
        Policy(candidate_score=0.6, min_score=0.5)
