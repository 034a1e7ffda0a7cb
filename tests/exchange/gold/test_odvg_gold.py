"""ODVG lines in three dialects: detection by label map, grounding with and without spans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from student.gold.label_map import read_label_map

SIZE = {"height": 48, "width": 64}
CAPTION = "a dog and a dog see a man"


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    (tmp_path / "labels.json").write_text('{"0": "person", "1": "dog", "2": "lynx"}')
    return tmp_path / "labels.json"


def detection(*instances: Any, **line: Any) -> dict:
    return {"filename": "one.jpg", **SIZE, "detection": {"instances": list(instances)}, **line}


def grounding(*regions: Any, caption: Any = CAPTION, **line: Any) -> dict:
    return {
        "filename": "one.jpg",
        **SIZE,
        "grounding": {"caption": caption, "regions": list(regions)},
        **line,
    }


def test_with_a_label_map_the_other_classes_are_absent_and_without_one_unsaid(
    imported: Callable, as_lines: Callable, fates: Callable, label_map: Path
) -> None:
    line = as_lines(detection({"bbox": [0, 0, 5, 5], "label": 1, "category": "dog"}))

    told, [row] = imported("odvg", line, label_map=label_map)
    unsaid, [bare] = imported("odvg", line)

    assert fates(row) == {"person": "absent", "dog": "positive", "lynx": "absent"} and told.exhaustive
    assert fates(bare) == {"dog": "positive"} and not unsaid.exhaustive


def test_labels_of_every_form_are_kept_mended_or_refused(
    imported: Callable, as_lines: Callable, label_map: Path
) -> None:
    box = {"bbox": [0, 0, 5, 5]}
    items = [
        {**box, "label": 1},
        {**box, "label": 1.0, "category": "dog"},
        {**box, "label": "1", "category": "dog"},
        {**box, "category": "lynx"},
        {**box, "label": 1, "category": "person"},
        {**box, "label": 18, "category": "dog"},  # a COCO id with its gaps, not an index
        {**box, "label": 1.5},
        {**box},
        "dog",
        {"bbox": [5, 0, 0, 5], "label": 1},
    ]

    report, [row] = imported("odvg", as_lines(detection(*items)), label_map=label_map)
    told = report.records["regions"]
    assert (told["in"], told["kept"], told["repaired"], told["refused"]) == (10, 1, 4, 5)
    assert told["codes"] == {
        "category_differs": 1,
        "category_unknown": 3,
        "corners_swapped": 1,
        "field_missing": 1,
        "name_by_label": 2,
        "number_form": 2,
    }

    report, _ = imported("odvg", as_lines(detection({**box, "category": "dog"}, {**box, "label": 1})))
    assert report.records["regions"]["codes"] == {"category_missing": 1}


def test_phrases_without_spans_are_found_and_equal_ones_share_their_boxes(
    imported: Callable, as_lines: Callable, fates: Callable
) -> None:
    regions = [
        {"bbox": [0, 0, 5, 5], "phrase": "a man"},
        {"bbox": [1, 0, 5, 5], "phrase": "a dog"},
        {"bbox": [2, 0, 5, 5], "phrase": "a dog"},
        {"bbox": [3, 0, 5, 5], "phrase": "A Man"},
        {"bbox": [3, 0, 5, 5], "phrase": "a cat"},
        {"bbox": [3, 0, 5, 5]},
    ]

    report, [row] = imported("odvg", as_lines(grounding(*regions)))

    assert [(row["caption"][p["begin"] : p["end"]], p["begin"]) for p in row["phrases"]] == [
        ("a dog", 0),
        ("a man", 20),
    ]
    assert [(r["phrase"], r["x0"]) for r in row["regions"]] == [(0, 1), (0, 2), (1, 0), (1, 3)]
    assert report.records["regions"]["codes"] == {
        "phrase_missing": 1,
        "phrase_not_in_caption": 1,
        "span_ambiguous": 1,
        "span_case": 1,
    }


def test_mmdetection_tells_spans_and_may_give_several_boxes_and_phrases(
    imported: Callable, as_lines: Callable
) -> None:
    regions = [
        {"bbox": [[0, 0, 5, 5], [10, 0, 15, 5]], "phrase": "a dog", "tokens_positive": [[10, 15]]},
        {"bbox": [20, 0, 25, 5], "phrase": ["a dog", "a man"], "tokens_positive": [[0, 5], [20, 25]]},
        {"bbox": [30, 0, 35, 5], "phrase": "a man", "tokens_positive": [[19, 24]]},  # one off
        {"bbox": [30, 0, 35, 5], "phrase": "a man"},
    ]

    report, [row] = imported("odvg", as_lines(grounding(*regions)), dialect="mmdet")

    assert [(p["begin"], p["end"]) for p in row["phrases"]] == [(0, 5), (10, 15), (20, 25)]
    assert [(r["phrase"], r["x0"]) for r in row["regions"]] == [(0, 20), (1, 0), (1, 10), (2, 20), (2, 30)]
    assert report.records["regions"]["codes"] == {"no_span": 1, "span_moved": 1, "spans_split": 1}


def test_tao_names_the_image_otherwise_and_may_print_a_score_behind_the_phrase(
    imported: Callable, as_lines: Callable, fates: Callable
) -> None:
    line = grounding({"bbox": [0, 0, 5, 5], "phrase": "a man (0.52)"})
    line["file_name"] = line.pop("filename")

    report, [row] = imported("odvg", as_lines(line), dialect="tao")

    assert fates(row) == {"a man": "positive"}
    assert report.records["regions"]["codes"] == {"score_in_phrase": 1}
    with pytest.raises(Exception, match="field_missing"):
        imported("odvg", as_lines(line), dialect="open_gd")


def test_a_phrase_that_ends_in_brackets_by_itself_keeps_them(imported: Callable, as_lines: Callable) -> None:
    line = grounding({"bbox": [0, 0, 5, 5], "phrase": "a vote (0.52)"}, caption="a vote (0.52) of all")

    report, [row] = imported("odvg", as_lines(line))

    assert row["phrases"][0]["text"] == "a vote (0.52)" and report.records["regions"]["kept"] == 1


def test_lines_are_refused_one_by_one_and_an_image_without_a_region_is_a_row(
    imported: Callable, as_lines: Callable, label_map: Path
) -> None:
    text = as_lines(
        grounding(),
        detection(),
        {"filename": "one.jpg", **SIZE},
        {**SIZE, "detection": {"instances": [{"bbox": [0, 0, 5, 5], "label": 1}]}},
        detection({"bbox": [0, 0, 5, 5], "label": 1}, width="64 px"),
        grounding({"bbox": [0, 0, 5, 5], "phrase": "x"}, caption=""),
        {"filename": "one.jpg", **SIZE, "detection": {"instances": 5}},
    )

    report, rows = imported("odvg", text + "{broken\n", label_map=label_map)

    assert [row["caption"] for row in rows] == [CAPTION, "person. dog. lynx"]
    assert report.records["lines"]["codes"] == {
        "caption_bad": 1,
        "field_missing": 3,
        "json_bad": 1,
        "size_bad": 1,
    }
    assert report.records["regions"]["codes"] == {"image_refused": 3}


def test_when_all_instances_of_a_line_are_refused_each_is_told_once(
    imported: Callable, as_lines: Callable
) -> None:
    good = detection({"bbox": [0, 0, 5, 5], "category": "dog"})

    report, rows = imported("odvg", as_lines(detection({"bbox": None, "category": "dog"}), good))

    assert len(rows) == 1 and report.records["lines"]["codes"] == {"nothing_to_learn": 1}
    assert report.records["regions"]["codes"] == {"box_not_numbers": 1}


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", '{"0": 1}', "{", "5", "[" * 99_999, '{"0": "_"}', '{"0": "a\\u0000b"}'),
        *('{"0": "a", " 0": "b"}', '{"0": "a", "0": "b"}'),
    ],
)
def test_a_label_map_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)

    with pytest.raises(ConfigError, match="--label-map"):
        read_label_map(tmp_path / "labels.json")


def test_sizes_may_be_taken_from_the_image(imported: Callable, as_lines: Callable, picture: Callable) -> None:
    picture("one.jpg", 30, 20)
    line = {"filename": "one.jpg", "detection": {"instances": [{"bbox": [0, 0, 50, 50], "category": "dog"}]}}

    report, [row] = imported("odvg", json.dumps(line))

    assert (row["width"], row["height"], row["regions"][0]["x1"]) == (30, 20, 30)
    assert report.records["lines"]["codes"] == {"size_from_image": 1}
