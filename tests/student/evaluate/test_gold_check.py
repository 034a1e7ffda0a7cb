"""Gold that would be measured wrongly in silence is refused, and the record is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from student.evaluate.gold.load import read_gold
from student.evaluate.run import evaluate

GOLD = {
    "images": [{"id": 7, "file_name": "one.jpg", "width": 64, "height": 48, "caption": "a dog"}],
    "categories": [{"id": 3, "name": "dog", "kind": "animal"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "tokens_positive": [[0, 5]]},
    ],
}


def written(folder: Path, value: Any) -> Path:
    path = folder / "gold.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def test_whole_gold_is_read_with_and_without_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    assert read_gold(written(tmp_path, GOLD)) == GOLD
    assert read_gold(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOLD).encode())) == GOLD


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 100_000, b"{", b"null", b'{"images": []}'])
def test_what_is_no_coco_json_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"gold.json"):
        read_gold(written(tmp_path, data))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda g: g.update(annotations=None), "annotations is NoneType, expected a list"),
        (lambda g: g.update(images=[3]), "images is list, expected a list of objects"),
        (lambda g: g["images"].append(g["images"][0]), "id 7 of one of the images occurs twice"),
        (
            lambda g: g["categories"].append(g["categories"][0]),
            "id 3 of one of the categories occurs twice",
        ),
        (
            lambda g: g["annotations"].append(g["annotations"][0]),
            "id 1 of one of the annotations occurs twice",
        ),
        (lambda g: g["annotations"][0].pop("id"), "id None of one of the annotations is not a whole number"),
        (
            lambda g: g["annotations"][0].update(image_id=8),
            "annotation 1: image_id 8 is not among the images",
        ),
        (lambda g: g["annotations"][0].update(image_id="7"), "image_id '7' is not among the images"),
        (lambda g: g["annotations"][0].update(category_id=[3]), "is not among the categories"),
        (lambda g: g["annotations"][0].pop("bbox"), "bbox is None"),
        (lambda g: g["annotations"][0].update(bbox=[0, 0, float("nan"), 5]), "bbox is .*nan"),
        (lambda g: g["annotations"][0].update(bbox=[0, 0, float("inf"), 5]), "bbox is .*inf"),
        (lambda g: g["annotations"][0].update(bbox=[0, 0, -1, 5]), "bbox is .*-1"),
        (lambda g: g["annotations"][0].update(bbox=["0", 0, 1, 5]), "bbox is"),
        (lambda g: g["annotations"][0].update(area=float("nan")), "area is nan"),
        (lambda g: g["annotations"][0].update(iscrowd="0"), "iscrowd is '0'"),
        (lambda g: g["annotations"][0].update(tokens_positive=[0, 5]), "expected spans"),
        (lambda g: g["annotations"][0].update(tokens_positive=[[5, 0]]), "expected spans"),
        (lambda g: g["categories"][0].update(name=" "), "category 3 has no name"),
    ],
)
def test_a_record_that_cannot_be_measured_is_named(tmp_path: Path, changed: Callable, says: str) -> None:
    gold = copy.deepcopy(GOLD)
    changed(gold)

    with pytest.raises(ConfigError, match=says):
        read_gold(written(tmp_path, gold))


def test_groups_by_a_field_that_no_category_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    path = written(tmp_path, GOLD)

    assert (
        "animal" in evaluate(tmp_path / "results.json", path, group_by="kind", bootstrap=0).data()["groups"]
    )
    with pytest.raises(ConfigError, match="--group-by kinds: no category"):
        evaluate(tmp_path / "results.json", path, group_by="kinds", bootstrap=0)
