"""COCO, LVIS and Objects365 boxes as gold: what is positive, absent, unresolved; what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.exchange.export_labels import export_labels
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError, ConflictError, GroundswellError


def coco(annotations: list[dict], **image: Any) -> dict:
    return {
        "annotations": [{"id": n, "image_id": 7, **a} for n, a in enumerate(annotations)],
        "images": [{"id": 7, "file_name": "one.jpg", "width": 64, "height": 48, "license": 2, **image}],
        "licenses": [{"id": 2, "name": "CC BY", "url": "http://x"}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "hot dog"}, {"id": 9, "name": "lynx"}],
    }


def test_categories_without_a_box_are_absent_and_crowds_alone_unresolved(
    imported: Callable, fates: Callable
) -> None:
    boxes = [
        {"bbox": [0, 0, 5, 5], "category_id": 3},
        {"bbox": [1, 1, 9, 9], "category_id": 9, "iscrowd": 1},
    ]

    report, [row] = imported("coco", coco(boxes))

    assert row["caption"] == "hot dog. dog. lynx" and report.exhaustive
    assert fates(row) == {"hot dog": "absent", "dog": "positive", "lynx": "unresolved"}
    assert [(r["fate"], r["origin"]) for r in row["regions"]] == [("positive", "human"), ("ignore", "human")]
    assert row["license"] == "CC BY" and json.loads(row["meta"]) == {"coco_image_id": 7}


def test_where_negatives_are_listed_those_alone_are_absent_and_the_lists_are_kept(
    imported: Callable, fates: Callable
) -> None:
    lists = {"neg_category_ids": [9], "not_exhaustive_category_ids": [3]}
    dog = {"bbox": [0, 0, 5, 5], "category_id": 3}

    report, [row] = imported("coco", coco([dog], **lists))

    assert fates(row) == {"dog": "positive", "lynx": "absent"} and not report.exhaustive
    assert json.loads(row["meta"]) == {"coco_image_id": 7, **lists, "not_exhaustive": ["dog"]}


def test_a_category_that_is_not_exhaustive_and_has_no_box_is_not_absent(
    imported: Callable, fates: Callable
) -> None:
    report, [row] = imported("coco", coco([], neg_category_ids=[9, 3], not_exhaustive_category_ids=[3]))

    assert fates(row) == {"lynx": "absent", "dog": "unresolved"}


def test_lvis_names_its_images_by_url_and_an_image_about_which_nothing_is_known_is_refused(
    imported: Callable, picture: Callable
) -> None:
    picture("val2017/one.jpg")
    lvis = coco([{"bbox": [0, 0, 5, 5], "category_id": 3}], neg_category_ids=[])
    del lvis["images"][0]["file_name"]
    lvis["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/one.jpg"
    lvis["images"].append({**lvis["images"][0], "id": 8})

    report, [row] = imported("coco", lvis)

    assert row["pixels"]["url"].endswith("images/val2017/one.jpg")
    assert report.records["images"]["codes"] == {"nothing_to_learn": 1}


@pytest.mark.parametrize("url", [5, ["http://x/one.jpg"], True])
def test_an_image_whose_url_is_no_text_is_refused_and_counted(imported: Callable, url: object) -> None:
    gold = coco([{"bbox": [0, 0, 5, 5], "category_id": 3}])
    gold["images"].append({**gold["images"][0], "id": 8, "coco_url": url})
    gold["images"][0]["coco_url"] = None

    report, [row] = imported("coco", gold)

    assert row["source_url"] is None
    assert report.records["images"]["codes"] == {"field_missing": 1}


def test_every_annotation_is_kept_repaired_or_refused_with_its_code(imported: Callable) -> None:
    good = {"bbox": [0, 0, 5, 5], "category_id": 3}
    bad = [
        {**good, "bbox": [60, 40, 10, 10]},  # clipped
        {**good, "category_id": "3", "bbox": [1, 0, 5, 5]},  # a number as text
        {**good, "category_id": 3.0, "bbox": [2, 0, 5, 5]},
        {**good, "image_id": "7", "bbox": [3, 0, 5, 5]},
        {**good, "bbox": [64, 0, 5, 5]},
        {**good, "bbox": [3, 3, 0, 9]},
        {**good, "bbox": [9, 9, -4, 9]},  # Objects365 holds such
        {**good, "bbox": [float("nan"), 9, 4, 9]},
        {**good, "category_id": 5},
        {**good, "image_id": 8},
        {"bbox": [0, 0, 5, 5], "category_id": 3, "image_id": None},
    ]

    report, [row] = imported("coco", coco([good, *bad]))

    told = report.records["annotations"]
    assert {name: told[name] for name in ("in", "kept", "repaired", "refused")} == {
        "in": 12,
        "kept": 1,
        "repaired": 4,
        "refused": 7,
    }
    assert told["codes"] == {
        "box_clipped": 1,
        "box_empty": 2,
        "box_negative": 1,
        "box_not_numbers": 1,
        "category_unknown": 1,
        "field_missing": 1,
        "image_unknown": 1,
        "number_form": 3,
    }
    assert len(row["regions"]) == 5
    assert report.examples["annotations box_negative"] == ["7: [9, 9, -4, 9]"]


def test_images_that_are_missing_take_their_annotations_with_them(
    imported: Callable, picture: Callable
) -> None:
    picture("one.jpg")
    held = coco([{"bbox": [0, 0, 5, 5], "category_id": 3}])
    held["images"] += [
        {**held["images"][0], "id": 8, "file_name": "gone.jpg"},
        {**held["images"][0], "id": 7, "file_name": "again.jpg"},
        {**held["images"][0], "id": 9, "file_name": "../one.jpg"},
        {**held["images"][0], "id": 10, "width": 0},
        {**held["images"][0], "id": 11, "width": 48},
    ]
    held["annotations"].append({"id": 5, "image_id": 8, "bbox": [0, 0, 5, 5], "category_id": 3})

    report, rows = imported("coco", held)

    assert len(rows) == 1
    assert report.records["images"]["codes"] == {
        "file_name_unsafe": 1,
        "id_twice": 1,
        "image_missing": 1,
        "image_shape": 1,
        "size_bad": 1,
    }
    assert report.records["annotations"]["codes"] == {"image_refused": 1}


def test_names_are_cleaned_as_the_authors_do_and_equal_ones_are_one_phrase(
    imported: Callable, fates: Callable
) -> None:
    held = coco([{"bbox": [0, 0, 5, 5], "category_id": 1}])
    held["categories"] = [
        {"id": 1, "name": "bow_(weapon)"},
        {"id": 2, "name": "bow_(decorative_ribbons)"},
        {"id": 400, "name": "Wild  Bird "},
    ]

    report, [row] = imported("coco", held)

    assert fates(row) == {"bow": "positive", "Wild Bird": "absent"}
    assert report.facts == {"categories": 3, "names": 2, "federated": False}


def test_the_authors_draw_holds_all_positives_and_is_the_same_for_the_same_seed(imported: Callable) -> None:
    held = coco([{"bbox": [0, 0, 5, 5], "category_id": 100}])
    held["categories"] = [{"id": n, "name": f"thing {n}"} for n in range(365)]
    held["images"] += [{**held["images"][0], "id": n, "file_name": f"{n}.jpg"} for n in range(8, 40)]

    first, rows = imported("coco", held, negatives="authors")
    again, _ = imported("coco", held, negatives="authors")
    other, _ = imported("coco", held, negatives="authors", seed=1)

    assert first.digest == again.digest != other.digest
    sizes = [len(row["phrases"]) for row in rows]
    assert max(sizes) <= 86 and min(sizes) < 60 and sum(size >= 80 for size in sizes) > 8
    assert "thing 100" in rows[0]["caption"].split(". ")


def test_the_wanted_split_alone_is_imported(imported: Callable) -> None:
    held = coco([])
    held["images"].append({**held["images"][0], "id": 8, "file_name": "two.jpg"})

    report, rows = imported("coco", held, split=frozenset(["two"]))

    assert [row["key"] for row in rows] == ["two"]
    assert report.records["images"]["codes"] == {"not_in_split": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"categories": []}, "no categories"),
        (
            {
                "categories": [{"id": 1, "name": "object"}],
                "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "tokens_positive": [[0, 1]]}],
            },
            "use `gold import mdetr`",
        ),
        ({"categories": [{"id": 1}]}, "no id and name"),
        ({"images": []}, "no record is left"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_reason(
    tmp_path: Path, imported: Callable, change: dict, reason: str
) -> None:
    with pytest.raises(GroundswellError, match=reason):
        imported("coco", {**coco([{"bbox": [0, 0, 5, 5], "category_id": 3}]), **change})


def test_when_nothing_is_left_the_reasons_are_told_and_nothing_is_written(
    tmp_path: Path, imported: Callable
) -> None:
    with pytest.raises(GroundswellError, match=r"1 of 1 images refused \(size_bad\)"):
        imported("coco", coco([], height=-1))
    assert not list(tmp_path.glob("gold-0"))


def test_a_list_of_images_alone_does_not_say_that_they_are_empty(imported: Callable) -> None:
    held = coco([])
    del held["annotations"]

    with pytest.raises(ConfigError, match="expected an object with images and annotations"):
        imported("coco", held)


def test_writing_again_changes_nothing_and_other_gold_is_a_conflict(tmp_path: Path) -> None:
    file, to = tmp_path / "coco.json", str(tmp_path / "gold")
    file.write_text(json.dumps(coco([{"bbox": [0, 0, 5, 5], "category_id": 3}])))
    first = import_gold("coco", file, to, ImportOptions())
    assert import_gold("coco", file, to, ImportOptions()) == first

    file.write_text(json.dumps(coco([{"bbox": [0, 0, 6, 5], "category_id": 3}])))
    with pytest.raises(ConflictError):
        import_gold("coco", file, to, ImportOptions())


BOX = st.tuples(*[st.integers(0, 40).map(lambda n: n / 4) for _ in range(2)], *[st.integers(1, 40)] * 2)


@settings(max_examples=8)
@given(st.lists(st.tuples(BOX, st.sampled_from([1, 3, 9]), st.booleans()), max_size=6))
def test_gold_comes_back_from_an_export_with_the_same_boxes_and_crowds(
    tmp_path_factory: pytest.TempPathFactory, boxes: list
) -> None:
    folder = tmp_path_factory.mktemp("round")
    held = coco([{"bbox": list(box), "category_id": c, "iscrowd": int(crowd)} for box, c, crowd in boxes])
    (folder / "coco.json").write_text(json.dumps(held))

    import_gold("coco", folder / "coco.json", str(folder / "gold"), ImportOptions())
    export_labels(str(folder / "gold"), "coco", folder / "again.json")
    again = json.loads((folder / "again.json").read_text())

    names = {c["id"]: c["name"] for c in held["categories"]}
    written = {c["id"]: c["name"] for c in again["categories"]}

    def told(side: dict, by: dict) -> list:
        return sorted((by[a["category_id"]], a["bbox"], a["iscrowd"]) for a in side["annotations"])

    assert told(again, written) == told(held, names)


def test_relations_of_categories_are_kept(imported: Callable) -> None:
    """LVIS lists synonyms, COCO a supercategory. What is no readable name is left out."""
    file = coco([{"bbox": [0, 0, 5, 5], "category_id": 3}])
    file["categories"] = [
        {"id": 3, "name": "aerosol_can", "synonyms": ["aerosol_can", "spray_can", 7, "_"]},
        {"id": 1, "name": "car_(automobile)", "supercategory": "vehicle", "synonyms": None},
        {"id": 9, "name": "lynx", "supercategory": "lynx"},
    ]

    report, _ = imported("coco", file)

    assert report.facts["broader"] == {
        "aerosol can": ["spray can"],
        "spray can": ["aerosol can"],
        "car": ["vehicle"],
    }
