"""Rules of a policy: every region is kept or counted once, and the rules do what their names say."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.views import check_row
from pipelines.compile.apply import apply_policy
from pipelines.compile.policy import Policy
from pipelines.compile.rules import RULES
from schemas.boxes import as_boxes, iou
from schemas.errors import ConfigError
from schemas.settings import EvidenceSettings
from tests.compile.conftest import CompiledRow, compile_row

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


def _kept(compiled: CompiledRow) -> list[tuple]:
    return [(region["phrase"], round(region["score"], 3)) for region in _taught(compiled)]


def _taught(compiled: CompiledRow) -> list[dict]:
    return [region for region in compiled.row["regions"] if region["fate"] != "ignore"]


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
        **({"ignore_score": max(low, high) * 0.9 if low <= 0.1 else None} if later or cap == 3 else {}),
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
    compiled = compile_row(_row(regions), policy)

    ignored = sum(region["fate"] == "ignore" for region in compiled.row["regions"])
    assert ignored == compiled.ignored.total()
    assert len(compiled.row["regions"]) + compiled.dropped.total() == len(regions)
    assert compiled.dropped.keys() | compiled.ignored.keys() <= set(RULES.names())
    check_row(compiled.row)


@settings(max_examples=60, deadline=None)
@given(st.lists(_regions, max_size=5), _policies)
def test_rows_compiled_together_are_those_compiled_one_by_one(rows_of_regions: list, policy: Policy) -> None:
    rows = [_row(regions) for regions in rows_of_regions]

    together = apply_policy(rows, policy)

    alone = [compile_row(row, policy) for row in rows]
    assert together.rows == [one.row for one in alone]
    for counted in ("dropped", "ignored", "numbers"):
        assert getattr(together, counted) == sum((getattr(one, counted) for one in alone), Counter())
    assert together.merged == sum(one.merged for one in alone)


@settings(max_examples=60, deadline=None)
@given(_regions)
def test_one_to_one_gives_no_phrase_two_boxes_and_no_place_two_phrases(regions: list) -> None:
    kept = _taught(compile_row(_row(regions), Policy(one_to_one=True, min_score=0)))

    boxes = as_boxes([[region[side] for side in ("x0", "y0", "x1", "y1")] for region in kept])
    assert len({region["phrase"] for region in kept}) == len(kept)
    assert (np.triu(iou(boxes, boxes), k=1) < 0.6).all()


@settings(max_examples=60, deadline=None)
@given(_regions, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_keeps_a_subset(regions: list, one: float, other: float) -> None:
    low, high = sorted((one, other))
    kept = [_taught(compile_row(_row(regions), Policy(min_score=score))) for score in (low, high)]

    assert all(region in kept[0] for region in kept[1])


def test_a_phrase_without_a_kept_box_is_unresolved_and_a_decoy_absent() -> None:
    row = _row([(0, 0, 0, 10, 10, 0.9), (1, 0, 0, 10, 10, 0.2)])

    compiled = compile_row(row, Policy())

    fates = [phrase["fate"] for phrase in compiled.row["phrases"]]
    assert fates == ["positive", "unresolved", "unresolved", "absent"]
    assert compiled.dropped == {"below_score": 1}


@pytest.mark.parametrize(("lowest", "fate"), [(None, "unresolved"), (0.3, "unresolved"), (0.31, "absent")])
def test_a_decoy_that_the_teacher_found_at_the_lower_threshold_is_not_called_absent(lowest, fate) -> None:
    compiled = compile_row(_row([(3, 0, 0, 10, 10, 0.3)]), Policy(candidate_score=lowest))

    assert compiled.row["phrases"][3]["fate"] == fate
    assert compiled.row["regions"] == [] and compiled.dropped == {"decoy": 1}


def test_a_score_written_as_float32_is_not_below_the_same_threshold() -> None:
    score = float(np.float32(0.7))
    assert score < 0.7

    assert _kept(compile_row(_row([(0, 0, 0, 10, 10, score)]), Policy(min_score=0.7))) == [(0, 0.7)]


def test_the_rare_phrase_wins_its_box_only_with_one_to_one() -> None:
    # the dog phrase scores the lynx's box higher than the lynx phrase does
    row = _row([(0, 0, 0, 50, 50, 0.9), (0, 100, 0, 150, 50, 0.8), (1, 0, 0, 50, 50, 0.7)])
    best_one = {"max_regions_per_phrase": 1}

    assert _kept(compile_row(row, Policy(**best_one))) == [(0, 0.9), (1, 0.7)]
    assert _kept(compile_row(row, Policy(**best_one, one_to_one=True))) == [(0, 0.8), (1, 0.7)]


def test_boxes_without_area_and_phrases_that_cannot_be_boxed_are_dropped_by_name() -> None:
    flat = _row([(0, 5, 5, 5, 10, 0.9)])
    vague = _row([(0, 0, 0, 10, 10, 0.9)], groundable=False)

    assert compile_row(flat, EVERYTHING).dropped == {"no_area": 1}
    assert compile_row(vague, Policy()).dropped == {"not_groundable": 1}
    assert compile_row(vague, EVERYTHING).dropped == {}


def test_suppression_and_the_caps_work_per_phrase() -> None:
    twins = [
        (phrase, x, 0, x + 50, 50, score)
        for phrase in (0, 1)
        for x, score in ((0, 0.9), (2, 0.8), (100, 0.7))
    ]

    one, best = {"max_regions_per_phrase": 1}, {"max_candidates_per_phrase": 1}
    assert _kept(compile_row(_row(twins), Policy())) == [(0, 0.9), (0, 0.7), (1, 0.9), (1, 0.7)]
    assert compile_row(_row(twins), Policy()).ignored == {"overlap": 2}
    assert compile_row(_row(twins), Policy(**one)).ignored == {"overlap": 2, "over_cap": 2}
    assert compile_row(_row(twins), Policy(**best)).ignored == {"overlap": 2, "over_candidates": 2}
    for rules in ({}, one, best):
        implicit = compile_row(_row(twins), Policy(**rules))
        explicit = compile_row(_row(twins), Policy(**rules, ignore_score=None))
        assert (explicit.dropped, explicit.ignored) == (implicit.ignored, {})


@settings(max_examples=150, deadline=None)
@given(_regions, _policies)
def test_by_default_no_candidate_of_a_phrase_with_a_box_ends_as_nothing(
    regions: list, given_policy: Policy
) -> None:
    policy = Policy(**given_policy.model_dump(exclude={"ignore_score"}))
    row = _row(regions)
    for number, region in enumerate(row["regions"]):
        region["pass_index"] = number  # what tells a region from its twins, wherever merging puts it

    compiled = compile_row(row, policy)

    in_view = {region["pass_index"] for region in compiled.row["regions"]}
    floor = float(np.float32(policy.candidate_score or 0))
    for number, (phrase, x0, y0, x1, y1, score) in enumerate(regions):
        is_candidate = score >= floor and x1 > x0 and y1 > y0
        if is_candidate and compiled.row["phrases"][phrase]["fate"] == "positive":
            assert number in in_view


def test_a_region_of_a_phrase_without_a_kept_box_is_dropped_under_the_rule_that_took_it() -> None:
    # both dogs are below min_score, and one is a duplicate: the phrase is out of the loss everywhere
    row = _row([(0, 0, 0, 50, 50, 0.4), (0, 2, 0, 52, 50, 0.3), (1, 0, 0, 50, 50, 0.9)])

    compiled = compile_row(row, Policy())

    assert compiled.dropped == {"overlap": 1, "below_score": 1} and compiled.ignored == {}


def test_merging_gives_different_phrases_one_box_and_keeps_their_scores() -> None:
    row = _row([(0, 0, 0, 50, 50, 0.7), (1, 1, 0, 51, 50, 0.9), (2, 100, 0, 150, 50, 0.8)])

    compiled = compile_row(row, Policy(merge_iou=0.75))

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
    Policy(min_score=0.05, nms_iou=0.7, max_regions_per_phrase=50).check_evidence(EvidenceSettings())

    with pytest.raises(ConfigError) as refused:
        Policy(**policy).check_evidence(EvidenceSettings())

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


_DEMO: dict[str, Any] = {
    "nms_iou": 0.5,
    "candidate_score": 0.2,
    "max_candidates_per_phrase": 3,
    "one_to_one": True,
    "min_score": 0.4,
    "merge_iou": 0.75,
}
# computed at 47d028d, where null was the default of ignore_score
_DIGESTS: list[tuple[dict[str, Any], str]] = [
    ({"ignore_score": None}, "7b7a1a407e399204a68bb4fd221d3b0e7fd509e6f1b1b234bedb2d242c158430"),
    ({**_DEMO, "ignore_score": None}, "cf612f96ed823dfd8dab40d91d3d752286d571a7b711afb1635383184f2899f8"),
    ({"ignore_score": 0.2}, "056329550f5f1aa8c938d326bb119e80219d4a50baf5969522cfea4e38f354d8"),
    (
        {"candidate_score": 0.1, "one_to_one": True, "min_score": 0.4, "ignore_score": 0.2},
        "778c1eb7e8e966c500601b3e21f694a37cf6ffc5151b9e4284c242dbe67c9ceb",
    ),
    (
        {"ignore_score": 0.3, "class_only_below": 0.6, "weight": "score", "keep_samples_without_box": False},
        "56630d8f70b88515e3d9f89a5bf94a16cac87db8a57d6756bce4780e170c6706",
    ),
    (
        {
            "ignore_score": 0.0,
            "min_score": 0.3,
            "weight": "ramp",
            "weight_ramp": (0.2, 0.6),
            "max_regions_per_phrase": 2,
        },
        "2ef1f86d6bf044fa6502a7ddd5ab50ccbbac91dd14403af61ff82545c80c00a3",
    ),
    (
        {
            "ignore_score": 0.25,
            "weight": "p_correct",
            "calibration": {"score_kind": "glip", "points": [(0, 0), (1, 1)]},
            "gold": {"urls": ["gold"], "iou": 0.6},
        },
        "08f999c5cd651e9d226d1571fd80044db1d597e383b720db318f48795089a6b3",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "digest"), _DIGESTS)
def test_a_policy_that_sets_ignore_score_keeps_its_digest(policy: dict, digest: str) -> None:
    assert Policy(**policy).digest() == f"sha256:{digest}"


def test_a_policy_that_omits_ignore_score_has_a_digest_of_its_own() -> None:
    for fields in ({}, _DEMO):
        assert Policy(**fields).digest() != Policy(**fields, ignore_score=None).digest()
        assert Policy(**fields).digest() == Policy(**fields, ignore_score="floor").digest()


@pytest.mark.parametrize("ignore_score", [None, "floor", 0.25])
def test_a_dump_of_a_policy_loads_back_and_a_record_of_it_too(ignore_score: Any) -> None:
    policy = Policy(**_DEMO, ignore_score=ignore_score)

    for dump in (policy.model_dump(), policy.model_dump(mode="json"), json.loads(policy.model_dump_json())):
        assert Policy.model_validate(dump) == policy
    assert Policy.from_record(policy.identity()) == policy
    assert ("ignore_score" in policy.identity()) == (ignore_score is not None)


@pytest.mark.parametrize("value", ["flor", 1.5, -0.1, [0.2], float("nan"), True])
def test_an_ignore_score_that_is_none_of_floor_score_or_null_is_refused_with_what_is_expected(
    value: Any,
) -> None:
    with pytest.raises(ValueError, match="expected floor, a raw score from 0 to 1, or null"):
        Policy(ignore_score=value)


def test_candidates_below_a_higher_candidate_score_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="must be at least candidate_score"):
        Policy(candidate_score=0.6, min_score=0.5)
