"""MDETR and GLIP mixed grounding as gold: boxes tied to spans in code points, traps of the format counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipelines.exchange.exporters.coco import make_coco

CAPTION = "a man 🐕 and a red café ."


def mdetr(annotations: list[dict], **image: Any) -> dict:
    size = {"width": 64, "height": 48}
    return {
        "info": [],
        "images": [
            {"id": "7", "file_name": "one.jpg", "caption": CAPTION, "dataset_name": "mixed", **size, **image}
        ],
        "annotations": [
            {"id": n, "image_id": "7", "bbox": [n, 0, 5, 5], "category_id": 1, **a}
            for n, a in enumerate(annotations)
        ],
        "categories": [{"id": 1, "name": "object"}],
    }


def test_each_span_is_a_phrase_with_its_boxes_and_a_caption_says_not_all_that_is_there(
    imported: Callable, fates: Callable
) -> None:
    man = {"tokens_positive": [[0, 5]]}
    cafe = {"tokens_positive": [[12, 13], [14, 17], [18, 22]]}

    report, [row] = imported("mdetr", mdetr([cafe, man, man]))

    assert fates(row) == {"a man": "positive", "a red café": "positive"}
    assert [(r["phrase"], r["x0"]) for r in row["regions"]] == [(0, 1), (0, 2), (1, 0)]
    assert [p["root"] for p in row["phrases"]] == ["man", "café"]
    assert report.records["annotations"]["kept"] == 3 and not report.exhaustive
    assert json.loads(row["meta"]) == {"mdetr_image_id": "7", "dataset_name": "mixed"}


def test_spans_that_do_not_fit_are_mended_or_refused_and_counted(imported: Callable) -> None:
    spans = [[[1, 6]], [[13, 16]], [[14, 16]], [[0, 5], [14, 17]], [], None, [[30, 40]], [[0, 5]]]
    annotations = [{"tokens_positive": s} for s in spans[:-1]] + [
        {"tokens_positive": spans[-1], "bbox": None}
    ]

    report, [row] = imported("mdetr", mdetr(annotations))

    told = report.records["annotations"]
    assert (told["in"], told["kept"], told["repaired"], told["refused"]) == (8, 0, 4, 4)
    assert told["codes"] == {
        "box_not_numbers": 1,
        "no_span": 2,
        "span_moved": 1,
        "span_outside": 1,
        "span_trimmed": 1,
        "span_widened": 1,
        "spans_split": 1,
    }
    assert [row["caption"][p["begin"] : p["end"]] for p in row["phrases"]] == ["a man", "man", "red"]


def test_ids_that_are_text_on_one_side_and_numbers_on_the_other_still_meet(imported: Callable) -> None:
    report, [row] = imported("mdetr", mdetr([{"tokens_positive": [[0, 5]], "image_id": 7}]))

    assert len(row["regions"]) == 1 and report.records["annotations"]["codes"] == {"number_form": 1}


def test_phrases_that_only_an_evaluation_asks_for_are_unresolved(imported: Callable, fates: Callable) -> None:
    asked = [[[0, 5]], [[14, 22]], [[50, 60]]]

    report, [row] = imported("mdetr", mdetr([{"tokens_positive": [[0, 5]]}], tokens_positive_eval=asked))

    assert fates(row) == {"a man": "positive", "red café": "unresolved"}
    assert report.records["asked phrases"]["codes"] == {"span_outside": 1}
    assert json.loads(row["meta"])["tokens_positive_eval"] == asked


def test_one_image_with_several_captions_is_several_rows_with_own_keys(imported: Callable) -> None:
    held = mdetr([])
    held["images"] += [
        {**held["images"][0], "id": 8, "caption": "two"},
        {**held["images"][0], "id": 9, "caption": None},
    ]

    report, rows = imported("mdetr", held)

    assert [(row["key"], row["caption"]) for row in rows] == [("one", CAPTION), ("one#2", "two")]
    assert report.records["images"]["codes"] == {"caption_bad": 1}


def test_control_characters_become_blanks_and_offsets_stay(imported: Callable, fates: Callable) -> None:
    report, [row] = imported("mdetr", mdetr([{"tokens_positive": [[0, 5]]}], caption="a\tman and\nall"))

    assert row["caption"] == "a man and all" and fates(row) == {"a man": "positive"}
    assert report.records["images"]["codes"] == {"caption_controls": 1}


def test_our_own_export_of_captions_comes_back_with_its_phrases_and_boxes(
    imported: Callable, fates: Callable
) -> None:
    _, rows = imported(
        "mdetr", mdetr([{"tokens_positive": [[0, 5]]}, {"tokens_positive": [[12, 22]], "iscrowd": 1}])
    )
    exported = make_coco(rows)

    report, again = imported("mdetr", exported)

    assert fates(again[0]) == fates(rows[0]) == {"a man": "positive", "a red café": "unresolved"}
    assert again[0]["regions"] == rows[0]["regions"] and report.records["annotations"]["kept"] == 2
