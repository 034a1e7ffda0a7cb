"""YOLO becomes gold: classes by index, fractions as pixels, and an image without labels is unknown, not empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.views import open_view
from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError, NotFoundError
from student.evaluate.run import evaluate

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [dog, cat]\n"


@pytest.fixture
def yolo(tmp_path: Path) -> Callable[..., Path]:
    """Write images of 64 x 48 px and their labels by part and name; None leaves the label file out."""

    def write(files: dict[str, str | None], data: str = YAML) -> Path:
        root = tmp_path / "yolo"
        for part in ("train", "val"):
            (root / "images" / part).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = root / "images" / f"{name}.jpg"
            Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
            labels = root / "labels" / f"{name}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                labels.write_text(text)
        (root / "data.yaml").write_text(data)
        return root / "data.yaml"

    return write


def read(data: Path, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    to = str(data.parent.parent / options.get("origin", "human"))
    images = open_images(str(data.parent))
    report = import_gold("yolo", data, to, ImportOptions(images=images, **options), overwrite=True)
    return report, list(open_view(to).rows())


def boxes(row: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return [
        (row["phrases"][r["phrase"]]["text"], [r[side] for side in ("x0", "y0", "x1", "y1")])
        for r in row["regions"]
    ]


def test_fractions_of_center_and_sides_become_pixels(yolo: Callable) -> None:
    report, [row] = read(yolo({"train/a": "1 0.5 0.5 0.25 0.5\n0 0.125 0.5 0.25 1\n"}))

    assert boxes(row) == [("dog", [0, 0, 16, 48]), ("cat", [24, 12, 40, 36])]
    assert (row["key"], report.exhaustive) == ("a", True)
    assert json.loads(row["meta"]) == {"image_id": "a", "yolo_part": "train"}


def test_an_empty_file_says_that_nothing_is_there(yolo: Callable, fates: Callable) -> None:
    _, [row] = read(yolo({"train/a": ""}))

    assert fates(row) == {"dog": "absent", "cat": "absent"}


def test_an_image_without_a_file_of_labels_is_refused_not_empty(yolo: Callable) -> None:
    report, rows = read(yolo({"train/a": "0 0.5 0.5 0.5 0.5", "train/b": None}))

    assert len(rows) == 1 and report.records["images"]["codes"] == {"labels_missing": 1}


def test_labels_without_their_image_are_refused(yolo: Callable) -> None:
    data = yolo({"train/a": "0 0.5 0.5 0.5 0.5", "train/b": "0 0.5 0.5 0.5 0.5"})
    (data.parent / "images" / "train" / "b.jpg").unlink()

    report, _ = read(data)

    assert report.records["images"]["codes"] == {"image_missing": 1}
    assert report.records["objects"]["codes"] == {"image_refused": 1}


def test_one_part_alone_is_imported_when_asked(yolo: Callable) -> None:
    data = yolo({"train/a": "0 0.5 0.5 0.5 0.5", "val/b": "0 0.5 0.5 0.5 0.5"})

    assert [row["key"] for row in read(data)[1]] == ["a", "b"]
    assert [row["key"] for row in read(data, part="val")[1]] == ["b"]


@pytest.mark.parametrize(
    "names", ["names: {0: dog, 1: cat}", "names: ['dog', 'cat']", "nc: 2\nnames:\n  0: dog\n  1: cat"]
)
def test_names_are_a_list_or_a_table(yolo: Callable, names: str) -> None:
    _, [row] = read(yolo({"train/a": "1 0.5 0.5 0.5 0.5"}, f"train: images/train\n{names}\n"))

    assert boxes(row)[0][0] == "cat"


@pytest.mark.parametrize("train", ["../images/train", "./images/train", "images/train/", "[images/train]"])
def test_a_part_is_found_as_other_tools_write_it(yolo: Callable, train: str) -> None:
    _, rows = read(yolo({"train/a": "0 0.5 0.5 0.5 0.5"}, f"train: {train}\nnames: [dog, cat]\n"))

    assert len(rows) == 1


def test_a_polygon_gives_the_box_around_it(yolo: Callable) -> None:
    _, [row] = read(yolo({"train/a": "0 0.25 0.25 0.75 0.25 0.5 0.75"}))

    assert boxes(row) == [("dog", [16, 12, 48, 36])]


def test_a_sixth_number_is_the_score_of_a_tool(yolo: Callable) -> None:
    data = yolo({"train/a": "0 0.5 0.5 0.5 0.5 0.25"})

    _, [human] = read(data)
    report, [tool] = read(data, origin="teacher")

    assert human["regions"][0]["score"] == 1 and report.facts["scores"] == 1
    assert (tool["regions"][0]["score"], tool["regions"][0]["origin"]) == (0.25, "teacher")


@pytest.mark.parametrize(
    ("line", "code", "fate"),
    [
        ("1 0.5 0.5 0.5", "box_not_numbers", "unresolved"),
        ("1 0.5 0.5 0.5 x", "box_not_numbers", "unresolved"),
        ("1 0.5 0.5 nan 0.5", "box_not_numbers", "unresolved"),
        ("1 0.5 0.5 0 0.5", "box_empty", "unresolved"),
        ("1 0.5 0.5 -0.1 0.5", "box_negative", "unresolved"),
        ("7 0.5 0.5 0.5 0.5", "category_unknown", "unresolved"),
    ],
)
def test_the_class_of_a_refused_line_is_unknown(
    yolo: Callable, fates: Callable, line: str, code: str, fate: str
) -> None:
    report, [row] = read(yolo({"train/a": f"0 0.5 0.5 0.5 0.5\n{line}\n"}))

    assert fates(row)["cat"] == fate and report.records["objects"]["codes"] == {code: 1}


def test_pixels_are_seen_over_the_whole_file(yolo: Callable) -> None:
    data = yolo({"train/a": "0 32 24 20 20\n1 10 10 8 8\n0 40 20 6 6"})

    with pytest.raises(ConfigError, match="--unit px"):
        read(data)
    assert boxes(read(data, unit="px")[1][0])[0] == ("dog", [22, 14, 42, 34])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("names: [dog]\n", "names no train or val or test"),
        ("train: images/train\n", "expected a list of readable class names"),
        ("train: images/train\nnames: [1, 2]\n", "expected a list of readable class names"),
        ("- a\n", "expected the fields names, train and val"),
        ("a: [\n", "not YAML"),
        ("train: images/train\nnames: ['[MASK]']\n", r"has \[MASK\]"),
    ],
)
def test_a_data_file_that_says_nothing_is_refused(yolo: Callable, data: str, message: str) -> None:
    path = yolo({"train/a": "0 0.5 0.5 0.5 0.5"}, data)

    with pytest.raises(ConfigError, match=message):
        read(path)


def test_a_part_outside_the_folder_is_refused(yolo: Callable, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    data = yolo({}, "train: ../elsewhere\nnames: [dog]\n")

    with pytest.raises(NotFoundError, match="not below"):
        read(data)


def test_results_by_stem_and_index_score_full_marks_against_the_import(yolo: Callable) -> None:
    data = yolo(
        {"train/a": "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.25", "train/000000000139": "1 0.5 0.5 0.25 0.5"}
    )
    read(data)
    results = [
        {"image_id": "a", "category_id": 0, "bbox": [16, 12, 32, 24], "score": 0.9},
        {"image_id": "a", "category_id": 1, "bbox": [8, 6, 16, 12], "score": 0.9},
        {"image_id": 139, "category_id": 1, "bbox": [24, 12, 16, 24], "score": 0.9},
    ]
    path = data.parent / "results.json"
    path.write_text(json.dumps(results))

    report = evaluate(path, data.parent.parent / "human", bootstrap=0)

    assert report["AP"] == pytest.approx(1) and "unmatched" not in report
