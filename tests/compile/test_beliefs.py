"""What a policy says of how far a region is believed: ignored, class only, weighed, one of several, known to gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.views import open_view, write_view
from pipelines.compile.gold_boxes import GoldBoxes
from pipelines.compile.gold_mask import GoldBox, is_category
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from schemas.errors import ConfigError, NotFoundError
from tests.compile.conftest import DEFAULTS, CompiledRow, compile_row

LEFT, MIDDLE, RIGHT = (0, 0, 40, 40), (60, 0, 100, 40), (120, 0, 160, 40)
Row = dict[str, Any]


def row_of(texts: dict[str, str], regions: list[tuple], image_sha256: str = "00" * 32) -> Row:
    """texts: phrase -> root; regions: (phrase, box, score)."""
    caption = " and ".join(texts)
    chunk = {"kind": "chunk", "groundable": True, "truncated": False}
    phrases = [
        {
            "begin": caption.index(text),
            "end": caption.index(text) + len(text),
            "text": text,
            "root": root,
            **chunk,
        }
        for text, root in texts.items()
    ]
    extra = {"class_score": None, "quality": None, "pass_index": 0}
    made = [
        {
            "phrase": phrase,
            **dict(zip(("x0", "y0", "x1", "y1"), box)),
            "score": float(np.float32(score)),
            **extra,
        }
        for phrase, box, score in regions
    ]
    sample = {"unit": "u", "index": 0, "key": "k", "caption": caption, "width": 200, "height": 100}
    return {
        **sample,
        "image_sha256": image_sha256,
        "phrases": phrases,
        "dropped_phrases": [],
        "regions": made,
    }


def fates(compiled: CompiledRow) -> list[tuple]:
    return [
        (r["phrase"], round(r["score"], 3), r["fate"], round(r["weight"], 3)) for r in compiled.row["regions"]
    ]


def kept_of(compiled: CompiledRow) -> int:
    return sum(fate != "ignore" for _, _, fate, _ in fates(compiled))


PAIR = {"a dog": "dog", "a lynx": "lynx"}


def test_a_region_between_the_two_thresholds_is_ignored_and_one_below_both_is_dropped() -> None:
    row = row_of(PAIR, [(0, LEFT, 0.9), (0, RIGHT, 0.35), (1, MIDDLE, 0.4), (1, LEFT, 0.1)])

    compiled = compile_row(row, Policy(min_score=0.5, ignore_score=0.3))

    assert fates(compiled) == [
        (0, 0.9, "positive", 1.0),
        (0, 0.35, "ignore", 0.0),
        (1, 0.4, "ignore", 0.0),
    ]
    assert [phrase["fate"] for phrase in compiled.row["phrases"]] == ["positive", "unresolved"]
    assert compiled.ignored == {"below_score": 2} and compiled.dropped == {"below_score": 1}


def test_a_candidate_that_was_not_chosen_is_ignored_above_the_lower_threshold() -> None:
    # the dog's best box is the lynx's; its second best is its own, its third nobody's
    row = row_of(PAIR, [(0, LEFT, 0.9), (0, RIGHT, 0.8), (0, MIDDLE, 0.2), (1, LEFT, 0.7)])

    compiled = compile_row(row, Policy(one_to_one=True, ignore_score=0.3))

    assert fates(compiled) == [(0, 0.9, "ignore", 0.0), (0, 0.8, "positive", 1.0), (1, 0.7, "positive", 1.0)]
    assert compiled.ignored == compiled.dropped == {"lost_assignment": 1}


def test_a_region_beyond_the_cap_is_ignored_and_not_a_negative() -> None:
    row = row_of(PAIR, [(0, LEFT, 0.9), (0, RIGHT, 0.8)])

    capped = compile_row(row, Policy(max_regions_per_phrase=1, ignore_score=0.3))

    assert fates(capped) == [(0, 0.9, "positive", 1.0), (0, 0.8, "ignore", 0.0)]


def test_only_a_phrase_of_one_thing_gives_up_its_other_boxes() -> None:
    boxes = [(0, LEFT, 0.9), (0, MIDDLE, 0.8), (0, RIGHT, 0.7)]
    one_to_one = Policy(one_to_one=True)

    kept = {
        text: kept_of(compile_row(row_of({text: root}, boxes), one_to_one))
        for text, root in {
            "a dog": "dog",
            "dogs": "dog",
            "three dogs": "dog",
            "a group of people": "people",
            "green grass": "grass",
            "the bus": "bus",
        }.items()
    }

    assert kept == {
        "a dog": 1,
        "dogs": 3,
        "three dogs": 3,
        "a group of people": 3,
        "green grass": 3,
        "the bus": 1,
    }


def test_the_boxes_of_several_take_no_place_from_one_thing() -> None:
    row = row_of({"two dogs": "dog", "a lynx": "lynx"}, [(0, LEFT, 0.9), (0, RIGHT, 0.8), (1, LEFT, 0.6)])

    compiled = compile_row(row, Policy(one_to_one=True))

    assert len(compiled.row["regions"]) == 3
    assert compiled.numbers == {"plural": 1, "singular": 1}


def test_a_region_in_the_class_only_band_keeps_its_weight_and_its_phrase() -> None:
    row = row_of(PAIR, [(0, LEFT, 0.55), (1, RIGHT, 0.6)])

    compiled = compile_row(row, Policy(class_only_below=0.6))

    assert fates(compiled) == [(0, 0.55, "class_only", 1.0), (1, 0.6, "positive", 1.0)]
    assert [phrase["fate"] for phrase in compiled.row["phrases"]] == ["positive", "positive"]


def test_weights_come_from_the_score_a_ramp_of_it_or_its_calibrated_probability() -> None:
    row = row_of(PAIR, [(0, LEFT, 0.5), (0, MIDDLE, 0.75), (1, RIGHT, 1.0)])
    curve = {"score_kind": "glip", "points": [(0.0, 0.2), (0.5, 0.4), (1.0, 0.8)]}

    def weights(**policy: Any) -> list[float]:
        return [weight for *_, weight in fates(compile_row(row, Policy(**policy)))]

    assert weights() == [1.0, 1.0, 1.0]
    assert weights(weight="score") == [0.5, 0.75, 1.0]
    assert weights(weight="ramp", weight_ramp=(0.5, 0.9)) == [0.0, 0.625, 1.0]
    assert weights(weight="p_correct", calibration=curve) == [0.4, 0.6, 0.8]
    believed = compile_row(row, Policy(calibration=curve)).row["regions"]
    assert [(round(r["p_correct"], 6), r["weight"]) for r in believed] == [(0.4, 1.0), (0.6, 1.0), (0.8, 1.0)]


def test_a_gold_box_of_the_category_masks_the_teachers_and_one_of_another_does_not() -> None:
    row = row_of(PAIR, [(0, LEFT, 0.9), (0, RIGHT, 0.8), (1, MIDDLE, 0.7)])
    gold = [GoldBox("dog", (2, 0, 41, 40)), GoldBox("dog", MIDDLE), GoldBox("wolf", RIGHT)]

    compiled = compile_row(row, Policy(gold={"urls": ["gold"], "iou": 0.5}), gold)

    assert fates(compiled) == [(0, 0.9, "ignore", 0.0), (0, 0.8, "positive", 1.0), (1, 0.7, "positive", 1.0)]
    assert compiled.ignored == {"gold": 1}


@pytest.mark.parametrize(
    ("category", "text", "root", "same"),
    [
        ("dog", "a brown dog", "dog", True),
        ("baseball bat", "his wooden baseball bats", "bat", True),
        ("baseball bat", "a bat", "bat", False),
        ("traffic_light", "the traffic light", "light", True),
        ("hot dog", "a dog", "dog", False),
        ("bat", "his wooden baseball bats", "bat", True),
    ],
)
def test_a_category_of_several_words_stands_whole_in_the_phrase(
    category: str, text: str, root: str, same: bool
) -> None:
    assert is_category(category, {"text": text, "root": root}) is same


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"ignore_score": 0.6}, "ignore_score 0.6 is above min_score 0.5"),
        ({"ignore_score": 0.1, "candidate_score": 0.2}, "ignore_score 0.1 is below candidate_score 0.2"),
        ({"class_only_below": 0.5}, "class_only_below 0.5 is not above min_score 0.5"),
        ({"weight": "ramp"}, "weight 'ramp' with weight_ramp None"),
        ({"weight_ramp": (0.1, 0.2)}, "weight 'one' with weight_ramp"),
        ({"weight": "ramp", "weight_ramp": (0.6, 0.2)}, "0 <= first < second <= 1"),
        ({"weight": "p_correct"}, "needs a calibration"),
        ({"calibration": {"score_kind": "x", "points": [(0.5, 0.5), (0.2, 0.9)]}}, "scores must rise"),
        ({"calibration": {"score_kind": "x", "points": [(0.2, 0.5), (0.5, 0.1)]}}, "shares not fall"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_with_its_values(policy: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Policy(**policy)


def _gold(folder: Path, image_sha256: str, kind: str = "gold") -> str:
    row = compile_row(row_of({"dog": "dog"}, [(0, LEFT, 1.0)], image_sha256), Policy()).row
    row = {**row, "shard": "s", "pixels": None, "meta": "{}", "exif_orientation": 1}
    write_view(str(folder), [row], kind=kind, provenance={})  # type: ignore[arg-type]
    return str(folder)


UNITS = [[[(0, *LEFT, 0.9), (1, *RIGHT, 0.8)], [(0, *LEFT, 0.3)]]]


def test_gold_goes_before_the_teacher_only_on_its_own_image_and_stands_in_report_and_provenance(
    tmp_path: Path, write_evidence: Any
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    same, other = _gold(tmp_path / "same", "0" * 64), _gold(tmp_path / "other", "1" * 64)

    def compiled(url: str, to: str) -> Any:
        return compile_view(str(tmp_path / "evidence"), Policy(gold={"urls": [url]}), str(tmp_path / to))

    masked, free = compiled(same, "masked"), compiled(other, "free")

    assert (masked.regions.ignored, free.regions.ignored) == ({"gold": 1}, {})
    assert (masked.regions.kept, free.regions.kept) == (1, 2)
    view = open_view(str(tmp_path / "masked"))
    assert view.manifest.provenance["gold"] == masked.gold == {same: open_view(same).manifest.digest}
    assert "regions to ignore" in masked.text()


def test_a_view_is_no_gold_and_gold_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    view = _gold(tmp_path / "view", "0" * 64, kind="view")

    with pytest.raises(ConfigError, match="a view, not gold"):
        GoldBoxes(Policy(gold={"urls": [view]}).gold)
    with pytest.raises(NotFoundError):
        GoldBoxes(Policy(gold={"urls": [str(tmp_path / "none")]}).gold)


def test_a_calibration_of_another_score_is_refused_and_nothing_written(
    tmp_path: Path, write_evidence: Any
) -> None:
    write_evidence(tmp_path / "evidence", UNITS)
    policy = Policy(calibration={"score_kind": "owl", "points": [(0, 0), (1, 1)]})

    with pytest.raises(ConfigError, match="of scores 'owl', the evidence has 'test.score'"):
        compile_view(str(tmp_path / "evidence"), policy, str(tmp_path / "view"))

    assert not (tmp_path / "view").exists()


def test_the_report_counts_bands_weights_and_samples_that_teach(tmp_path: Path, write_evidence: Any) -> None:
    write_evidence(tmp_path / "evidence", UNITS, settings=DEFAULTS)
    policy = Policy(ignore_score=0.2, class_only_below=0.85, weight="score", keep_samples_without_box=False)

    report = compile_view(str(tmp_path / "evidence"), policy, str(tmp_path / "view"))

    regions = report.regions
    assert (regions.kept, regions.class_only, regions.ignored) == (2, 1, {"below_score": 1})
    assert regions.weight == pytest.approx(1.7, abs=1e-3)
    # a sample whose only region is to be ignored teaches nothing
    assert (report.samples.with_box, report.samples.kept) == (1, 1)
    assert json.loads(report.model_dump_json())["regions"]["dropped"] == {}


def test_bands_of_equal_float32_scores_fall_on_the_side_that_is_written() -> None:
    at = float(np.float32(0.3))
    row = row_of(PAIR, [(0, LEFT, at)])

    assert compile_row(row, Policy(ignore_score=0.3)).ignored == {"below_score": 1}
    assert fates(compile_row(row, Policy(min_score=0.2, class_only_below=0.3)))[0][2] == "positive"
