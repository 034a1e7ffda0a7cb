"""Pascal VOC becomes gold: 1-based inclusive boxes, difficult objects to ignore, every file accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError, NotFoundError

BOX = "<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"


def annotation(*objects: str, name: str = "one.jpg", size: str = "64 48") -> str:
    width, height = size.split()
    sides = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{sides}{''.join(objects)}</annotation>"


def thing(name: str = "dog", box: str = BOX, more: str = "") -> str:
    return f"<object><name>{name}</name>{more}{box}</object>"


@pytest.fixture
def voc(tmp_path: Path) -> Callable[..., Path]:
    """Write annotations by name into a folder of the data set."""

    def write(**files: str) -> Path:
        (tmp_path / "voc" / "Annotations").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / "voc" / "Annotations" / f"{name}.xml").write_text(text)
        return tmp_path / "voc"

    return write


def test_boxes_count_from_one_to_the_last_pixel(imported: Callable, voc: Callable) -> None:
    report, [row] = imported("voc", voc(one=annotation(thing())))

    assert [row["regions"][0][side] for side in ("x0", "y0", "x1", "y1")] == [0, 10, 20, 30]
    assert (row["key"], report.exhaustive, report.records["objects"]["kept"]) == ("one", True, 1)


def test_a_class_that_another_file_names_is_absent(
    imported: Callable, voc: Callable, fates: Callable
) -> None:
    folder = voc(one=annotation(thing("dog")), two=annotation(thing("cat"), name="two.jpg"))

    _, rows = imported("voc", folder)

    assert [fates(row) for row in rows] == [
        {"cat": "absent", "dog": "positive"},
        {"cat": "positive", "dog": "absent"},
    ]


def test_a_difficult_object_is_to_be_ignored(imported: Callable, voc: Callable) -> None:
    _, [row] = imported("voc", voc(one=annotation(thing(more="<difficult>1</difficult>"))))

    assert [(region["fate"]) for region in row["regions"]] == ["ignore"]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (thing("cat", ""), "box_not_numbers"),
        (thing("cat", BOX.replace(">20<", "><")), "box_not_numbers"),
        (thing("cat", BOX.replace(">20<", ">nan<")), "box_not_numbers"),
        (thing("cat", BOX.replace(">20<", ">0<")), "box_empty"),
        (thing("cat", more="<difficult>perhaps</difficult>"), "flag_bad"),
    ],
)
def test_the_class_of_a_refused_object_is_unknown(
    imported: Callable, voc: Callable, fates: Callable, bad: str, code: str
) -> None:
    report, [row] = imported("voc", voc(one=annotation(thing("dog"), bad)))

    assert fates(row) == {"cat": "unresolved", "dog": "positive"}
    assert report.records["objects"]["codes"] == {code: 1} and report.too_many_refused


def test_an_object_without_a_name_makes_every_class_unknown(
    imported: Callable, voc: Callable, fates: Callable
) -> None:
    folder = voc(one=annotation(thing("")), two=annotation(thing("cat"), name="two.jpg"))

    report, [first, _] = imported("voc", folder)

    assert fates(first) == {"cat": "unresolved"}
    assert report.records["objects"]["codes"] == {"category_missing": 1}


@pytest.mark.parametrize("text", ["", "<annotation>", "<other/>", "<!DOCTYPE x><annotation/>", "\x00"])
def test_a_file_that_is_no_annotation_is_refused_and_counted(
    imported: Callable, voc: Callable, text: str
) -> None:
    report, rows = imported("voc", voc(one=annotation(thing()), two=text))

    assert len(rows) == 1 and report.records["images"]["codes"] == {"xml_bad": 1}


def test_files_may_lie_in_the_folder_itself(imported: Callable, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "one.xml").write_text(annotation(thing()))

    _, rows = imported("voc", tmp_path / "flat")

    assert len(rows) == 1


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="expected Pascal VOC"):
        import_gold("voc", tmp_path, str(tmp_path / "gold"), ImportOptions())


def test_a_name_that_is_a_special_token_is_refused(voc: Callable, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'\[SEP\]' has \[SEP\]"):
        import_gold("voc", voc(one=annotation(thing("[SEP]"))), str(tmp_path / "gold"), ImportOptions())


def test_boxes_of_the_images_size_are_fractions_when_stated(imported: Callable, voc: Callable) -> None:
    box = "<bndbox><xmin>0</xmin><ymin>0.5</ymin><xmax>0.5</xmax><ymax>1</ymax></bndbox>"

    _, [row] = imported("voc", voc(one=annotation(thing(box=box))), unit="fraction")

    assert [row["regions"][0][side] for side in ("x0", "y0", "x1", "y1")] == [0, 24, 32, 48]
