"""`evaluate` takes gold in every format that can be imported, and gives the numbers of its import."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app

BOX = (10, 6, 30, 30)  # xyxy of the one object, a dog, in an image of 64 x 48 px
XML = (
    "<annotation><filename>one.jpg</filename><size><width>64</width><height>48</height></size><object><name>dog</name>"
    "<bndbox><xmin>11</xmin><ymin>7</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"
)


def run(*words: object) -> Any:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def write_coco(folder: Path) -> Path:
    value = {
        "images": [{"id": 5, "file_name": "one.jpg", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "bbox": [10, 6, 20, 24]}],
        "categories": [{"id": 3, "name": "dog"}],
    }
    (folder / "gold.json").write_text(json.dumps(value))
    return folder / "gold.json"


def write_odvg(folder: Path) -> Path:
    instance = {"bbox": BOX, "label": 0, "category": "dog"}
    line = {"filename": "one.jpg", "width": 64, "height": 48, "detection": {"instances": [instance]}}
    (folder / "lines.jsonl").write_text(json.dumps(line))
    (folder / "labels.json").write_text('{"0": "dog"}')
    return folder / "lines.jsonl"


def write_voc(folder: Path) -> Path:
    (folder / "voc").mkdir()
    (folder / "voc" / "one.xml").write_text(XML)
    return folder / "voc"


def write_yolo(folder: Path) -> Path:
    (folder / "labels").mkdir()
    (folder / "labels" / "one.txt").write_text(f"0 {20 / 64} {18 / 48} {20 / 64} {24 / 48}\n")
    (folder / "data.yaml").write_text("train: images\nnames: [dog]\n")
    return folder / "data.yaml"


FORMATS: dict[str, tuple[Callable[[Path], Path], object, object]] = {
    "coco": (write_coco, 5, 3),
    "odvg": (write_odvg, 0, "dog"),
    "voc": (write_voc, "one", "dog"),
    "yolo": (write_yolo, "one", 0),
}


@pytest.mark.parametrize("format", FORMATS)
def test_perfect_results_score_full_marks_against_a_file_and_its_import(
    tmp_path: Path, picture: Callable, format: str
) -> None:
    picture("one.jpg")
    write, image, category = FORMATS[format]
    gold, images = write(tmp_path), ("--images", tmp_path / "images")
    options = ("--label-map", tmp_path / "labels.json") if format == "odvg" else ()
    results = [{"image_id": image, "category_id": category, "bbox": [10, 6, 20, 24], "score": 0.9}]
    (tmp_path / "results.json").write_text(json.dumps(results))

    done = run("gold", "import", format, gold, *images, *options, "--to", tmp_path / "gold")
    against_import = run("evaluate", tmp_path / "results.json", "--gold", tmp_path / "gold", "--json")
    form = () if format == "coco" else ("--gold-format", format, *options)
    against_file = run("evaluate", tmp_path / "results.json", "--gold", gold, *form, *images, "--json")

    assert done.exit_code == 0, done.stderr
    for answer in (against_import, against_file):
        assert answer.exit_code == 0, answer.stderr
        assert json.loads(answer.stdout)["AP"] == pytest.approx(1)


def test_gold_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")

    done = run("evaluate", tmp_path / "results.json", "--gold", write_odvg(tmp_path))

    assert done.exit_code == 2 and "give --gold-format odvg" in done.stderr


@pytest.mark.parametrize(
    ("format", "options", "says"),
    [
        ("yolo", ("--gold-format", "yolo"), "does not state the sizes of images; give --images"),
        ("coco", ("--part", "val"), "--part val: it needs --gold-format"),
        ("voc", ("--gold-format", "voc", "--part", "val"), "--part is for yolo"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    tmp_path: Path, format: str, options: tuple[str, ...], says: str
) -> None:
    (tmp_path / "results.json").write_text("[]")

    done = run("evaluate", tmp_path / "results.json", "--gold", FORMATS[format][0](tmp_path), *options)

    assert done.exit_code == 2 and says in done.stderr, done.stderr


def test_gold_of_another_format_that_lost_too_much_ends_with_exit_3(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    folder = write_voc(tmp_path)
    (folder / "two.xml").write_text("<annotation>")

    done = run("evaluate", tmp_path / "results.json", "--gold", folder, "--gold-format", "voc")

    assert done.exit_code == 3 and "1 of 2 images were refused (xml_bad 1)" in done.stderr
