"""A COCO file is read record by record: repaired, or refused with a code; then its class is unknown in the image."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError
from student.evaluate.gold.load import read_gold
from student.evaluate.run import evaluate

SIZE = {"width": 64, "height": 48}
GOLD: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "one.jpg", **SIZE, "caption": "a dog"},
        {"id": 8, "file_name": "two.jpg", **SIZE},
    ],
    "categories": [{"id": 3, "name": "dog", "kind": "animal"}, {"id": 4, "name": "cat", "kind": "animal"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "area": 25.0, "iscrowd": 0},
        {"id": 2, "image_id": 8, "category_id": 3, "bbox": [9, 9, 5, 5], "area": 25.0, "iscrowd": 0},
    ],
}
WHOLE = [0, 0, 64, 48]


def write(folder: Path, value: Any) -> Path:
    path = folder / "gold.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def change_gold(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    gold = copy.deepcopy(GOLD)
    change(gold)
    return gold


def test_a_sound_file_is_read_as_it_is_with_and_without_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    for prefix in (b"", b"\xef\xbb\xbf"):
        gold = read_gold(write(tmp_path, prefix + json.dumps(GOLD).encode()))

        assert {name: gold[name] for name in GOLD} == GOLD  # type: ignore[literal-required]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 100_000, b"{", b"null", b'{"images": []}'])
def test_what_is_no_coco_json_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"gold.json"):
        read_gold(write(tmp_path, data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.update(annotations=None), "no box is left: 1 of 1 annotations were refused"),
        (lambda g: g["categories"].append(g["categories"][0]), "category .* has no id and name of its own"),
        (lambda g: g["categories"][0].update(name=" "), "category .* has no id and name of its own"),
        (lambda g: g["categories"][0].update(name="a [SEP] b"), r"category 3, 'a \[SEP\] b', has \[SEP\]"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, change: Callable, message: str) -> None:
    path = write(tmp_path, change_gold(change))

    with pytest.raises(ConfigError, match=message):
        read_gold(path)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda a: a.pop("bbox"), "box_not_numbers"),
        (lambda a: a.update(bbox=[0, 0, float("nan"), 5]), "box_not_numbers"),
        (lambda a: a.update(bbox=[0, 0, float("inf"), 5]), "box_not_numbers"),
        (lambda a: a.update(bbox=["0", 0, 1, 5]), "box_not_numbers"),
        (lambda a: a.update(bbox=[0, 0, -1, 5]), "box_negative"),
        (lambda a: a.update(bbox=[0, 0, 0, 5]), "box_empty"),
        (lambda a: a.update(iscrowd="perhaps"), "flag_bad"),
        (lambda a: a.update(ignore=[1]), "flag_bad"),
        (lambda a: a.update(tokens_positive=[0, 5]), "span_outside"),
        (lambda a: a.update(tokens_positive=[[5, 0]]), "span_outside"),
    ],
)
def test_the_class_of_a_refused_box_is_unknown_in_its_image_alone(
    tmp_path: Path, change: Callable, code: str
) -> None:
    gold = read_gold(write(tmp_path, change_gold(lambda g: change(g["annotations"][0]))))

    assert gold["account"]["records"]["annotations"]["codes"] == {code: 1}
    assert [(a["image_id"], a["category_id"], a["bbox"], a["iscrowd"]) for a in gold["annotations"]] == [
        (8, 3, [9, 9, 5, 5], 0),
        (7, 3, WHOLE, 1),
    ]


def test_a_box_of_no_category_makes_every_class_unknown_in_its_image(tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path, change_gold(lambda g: g["annotations"][0].update(category_id=[3]))))

    assert [a["category_id"] for a in gold["annotations"] if a["iscrowd"]] == [3, 4]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda g: g["annotations"][1].update(id=1), "id_repeated"),
        (lambda g: g["annotations"][0].update(image_id="7"), "number_form"),
        (lambda g: g["annotations"][0].update(category_id=3.0), "number_form"),
        (lambda g: g["annotations"][0].update(area=float("nan")), "area_from_box"),
        (lambda g: g["annotations"][0].update(area=0), "area_from_box"),
        (lambda g: g["annotations"][0].update(iscrowd="0"), "flag_form"),
        (lambda g: g["annotations"][0].update(iscrowd=None), "flag_form"),
        (
            lambda g: g["annotations"][0].update(bbox=[], segmentation=[[0, 0, 5, 0, 5, 5]]),
            "box_from_polygon",
        ),
    ],
)
def test_a_repaired_box_counts_and_the_import_says_the_same(
    tmp_path: Path, change: Callable, code: str
) -> None:
    path = write(tmp_path, change_gold(change))

    report = import_gold("coco", path, str(tmp_path / "gold"), ImportOptions())

    gold = read_gold(path)
    assert gold["account"]["records"]["annotations"]["codes"] == {code: 1}
    assert gold["account"]["records"] == report.records
    assert [(a["bbox"], a.get("iscrowd")) for a in gold["annotations"]] == [
        ([0, 0, 5, 5], 0),
        ([9, 9, 5, 5], 0),
    ]


@pytest.mark.parametrize("flag", ["1", True, 1.0, "true"])
def test_a_crowd_is_a_crowd_in_any_form(tmp_path: Path, flag: object) -> None:
    for name in ("iscrowd", "ignore"):
        gold = read_gold(
            write(tmp_path, change_gold(lambda g, n=name: g["annotations"][0].update({n: flag})))
        )

        assert [a["iscrowd"] for a in gold["annotations"]] == [1, 0]


def test_an_annotation_without_id_is_kept(tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path, change_gold(lambda g: g["annotations"][0].pop("id"))))

    assert len(gold["annotations"]) == 2


def test_image_ids_that_are_off_by_one_are_refused_with_the_evidence(tmp_path: Path) -> None:
    def move(gold: dict[str, Any]) -> None:
        for annotation in gold["annotations"]:
            annotation["image_id"] -= 1

    with pytest.raises(ConfigError, match="image ids are 7 to 8, those of the annotations 6 to 7"):
        read_gold(write(tmp_path, change_gold(move)))


def test_two_records_of_one_picture_do_not_contradict_each_other(tmp_path: Path) -> None:
    def share(gold: dict[str, Any]) -> None:
        gold["images"][1]["file_name"] = "one.jpg"
        gold["annotations"][1]["category_id"] = 4

    gold = read_gold(write(tmp_path, change_gold(share)))

    assert [(a["image_id"], a["category_id"]) for a in gold["annotations"] if a["iscrowd"]] == [
        (7, 4),
        (8, 3),
    ]


def test_more_refused_boxes_than_allowed_are_told_with_their_codes(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    path = write(tmp_path, change_gold(lambda g: g["annotations"][0].pop("bbox")))

    [told] = evaluate(tmp_path / "results.json", path, bootstrap=0).too_many_refused

    assert told.startswith("1 of 2 annotations were refused (box_not_numbers 1), more than 0.05 of them")
    assert not evaluate(tmp_path / "results.json", path, bootstrap=0, max_refused=0.5).too_many_refused


def test_groups_by_a_field_that_no_category_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    path = write(tmp_path, GOLD)

    assert (
        "animal" in evaluate(tmp_path / "results.json", path, group_by="kind", bootstrap=0).data()["groups"]
    )
    with pytest.raises(ConfigError, match="--group-by kinds: no category"):
        evaluate(tmp_path / "results.json", path, group_by="kinds", bootstrap=0)
