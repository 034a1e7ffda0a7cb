"""Ids of images, categories and annotations survive an import, and an export gives them back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.exchange.export_labels import export_labels
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.source_ids import read_source_ids
from pipelines.exchange.import_gold import import_gold

SIZE = {"width": 64, "height": 48}


def coco(images: list[Any], categories: dict[Any, str], annotations: list[Any]) -> dict[str, Any]:
    """One box in each image, of the categories in turn."""
    names = list(categories)
    return {
        "images": [{"id": i, "file_name": f"{n}.jpg", **SIZE} for n, i in enumerate(images)],
        "categories": [{"id": i, "name": name} for i, name in categories.items()],
        "annotations": [
            {"id": own, "image_id": image, "category_id": names[n % len(names)], "bbox": [n, n, 9, 9]}
            for n, (own, image) in enumerate(zip(annotations, images, strict=True))
        ],
    }


@pytest.mark.parametrize(
    ("images", "categories", "annotations"),
    [
        ([3, 1, 2], {7: "mug", 4: "lamp"}, [90, 12, 5]),
        ([0, 1], {0: "mug", 90: "never boxed"}, [0, 1]),
        (["im1", "im2"], {"a": "mug"}, ["x", "y"]),
    ],
)
def test_an_export_of_imported_gold_has_the_ids_of_the_file(
    tmp_path: Path, images: list[Any], categories: dict[Any, str], annotations: list[Any]
) -> None:
    file = coco(images, categories, annotations)
    (tmp_path / "gold.json").write_text(json.dumps(file))
    import_gold("coco", tmp_path / "gold.json", str(tmp_path / "gold"), ImportOptions())

    export_labels(str(tmp_path / "gold"), "coco", tmp_path / "back.json")

    back = json.loads((tmp_path / "back.json").read_text())
    assert [image["id"] for image in back["images"]] == images
    assert {c["id"]: c["name"] for c in back["categories"]} == categories
    fields = ("id", "image_id", "category_id", "bbox")
    assert [tuple(a[f] for f in fields) for a in back["annotations"]] == [
        tuple(a[f] for f in fields) for a in file["annotations"]
    ]


def test_boxes_without_an_id_of_their_own_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "gold.json").write_text(json.dumps(coco([3, 1], {7: "mug"}, [5, 5])))
    import_gold("coco", tmp_path / "gold.json", str(tmp_path / "gold"), ImportOptions())

    export_labels(str(tmp_path / "gold"), "coco", tmp_path / "back.json")

    assert [a["id"] for a in json.loads((tmp_path / "back.json").read_text())["annotations"]] == [1, 2]


def test_a_refused_box_moves_no_id_to_another_box(imported: Callable) -> None:
    file = coco([1, 2, 3], {7: "mug"}, [10, 20, 30])
    file["annotations"][1]["bbox"] = None

    report, _ = imported("coco", file)

    assert list(read_source_ids(report.to, report.digest)) == [[10], [], [30]]


def test_crowds_keep_their_ids_behind_the_boxes_of_their_class(imported: Callable) -> None:
    file = coco([1], {7: "mug"}, [10])
    file["annotations"] = [
        {**file["annotations"][0], "iscrowd": 1},
        {**file["annotations"][0], "id": 11, "bbox": [5, 5, 9, 9]},
    ]

    report, [row] = imported("coco", file)

    assert [region["fate"] for region in row["regions"]] == ["positive", "ignore"]
    assert list(read_source_ids(report.to, report.digest)) == [[11, 10]]


def test_ids_of_gold_that_was_replaced_are_not_taken_for_those_of_the_new(tmp_path: Path) -> None:
    first, second = coco([1, 2], {7: "mug"}, [10, 20]), coco([1, 2], {7: "cup"}, [None, None])
    for file in (first, second):
        (tmp_path / "gold.json").write_text(json.dumps(file))
        import_gold("coco", tmp_path / "gold.json", str(tmp_path / "gold"), ImportOptions(), overwrite=True)

    export_labels(str(tmp_path / "gold"), "coco", tmp_path / "back.json")

    assert [a["id"] for a in json.loads((tmp_path / "back.json").read_text())["annotations"]] == [1, 2]
