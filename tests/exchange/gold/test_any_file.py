"""Whatever a file holds, it becomes gold that keeps the records' rules, or one error with a message; sums close."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.views import open_view
from pipelines.exchange.gold.import_report import GoldReport
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import GroundswellError
from student.evaluate.gold.load import read_gold
from student.gold.coco.types import GoldDataset

SIZE = {"width": 64, "height": 48}
COCO = {
    "images": [
        {"id": 7, "file_name": "one.jpg", "neg_category_ids": [3], "not_exhaustive_category_ids": [], **SIZE}
    ],
    "categories": [{"id": 3, "name": "dog", "frequency": "r"}, {"id": 1, "name": "hot dog"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 0}],
    "licenses": [{"id": 1, "name": "CC"}],
}
MDETR = {
    "images": [
        {"id": 7, "file_name": "one.jpg", "caption": "a red dog", "tokens_positive_eval": [[[0, 5]]], **SIZE}
    ],
    "categories": [{"id": 1, "name": "object"}],
    "annotations": [
        {"id": 1, "image_id": 7, "bbox": [0, 0, 5, 5], "tokens_positive": [[0, 9]], "phrase": "a red dog"}
    ],
}
REGION = {"bbox": [0, 0, 5, 5], "phrase": "a red dog", "tokens_positive": [[0, 9]]}
ODVG = {
    "filename": "one.jpg",
    **SIZE,
    "grounding": {"caption": "a red dog", "regions": [REGION, dict(REGION)]},
}
DETECTION = {
    "filename": "one.jpg",
    **SIZE,
    "detection": {"instances": [{"bbox": [0, 0, 5, 5], "category": "dog"}]},
}

ODD = [
    None,
    True,
    0,
    -1,
    7,
    3.0,
    2.5,
    1e300,
    float("nan"),
    float("-inf"),
    10**30,
    "",
    "7",
    "--5",
    "\ud800",
    "🐕",
    "a" * 3000,
] + [
    [],
    [[]],
    [0],
    [5, 2],
    [[5, 2]],
    [[0, 999]],
    [1, 2, 3, 4],
    [4, 3, 2, 1],
    {},
    {"id": 7},
    "../x",
    "a\0b",
    "a red",
]


TEXTS = ("", "0", "1", "-5", "1e400", "nan", "x", "[SEP]", "é", "&#0;", "<a/>", "999999999999", "20", "30")
NUMBERS = ("0", "1", "2", "0.5", "0.25", "-0.1", "1.5", "300", "nan", "inf", "1e400", "x", "1.0", "")
VOC = (
    "<annotation><filename>one.jpg</filename><size><width>{width}</width><height>{height}</height></size><object>"
    "<name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>{more}"
    "</annotation>"
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *places(item, (*path, key))]]


@st.composite
def changed(draw: st.DrawFn, base: Any) -> Any:
    """Replace, remove or double one to three places of the value."""
    value = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(value) or [("images",)]))
        holder = value
        for key in way:
            holder = holder[key]
        how = draw(st.integers(0, 4))
        if how == 0:
            holder.pop(last)
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return value


def write_file(folder: Path, format: str, text: str) -> Path:
    """Write the text as a file of the format; return what to import."""
    if format == "voc":
        (folder / "voc").mkdir()
        (folder / "voc" / "one.xml").write_text(text)
        return folder / "voc"
    if format == "yolo":
        for name in ("images", "labels"):
            (folder / name).mkdir()
        (folder / "images" / "a.jpg").touch()
        (folder / "labels" / "a.txt").write_text(text)
        (folder / "data.yaml").write_text("train: images\nnames: [dog, cat]\n")
        return folder / "data.yaml"
    (folder / "file").write_text(text)
    return folder / "file"


def read_or_refuse(path: Path) -> GoldDataset | GroundswellError:
    try:
        return read_gold(path)
    except GroundswellError as error:
        return error


def check_same_verdict(report: GoldReport, evaluated: GoldDataset | GroundswellError) -> None:
    """Import and evaluation repair and refuse the same records of a file with the same codes."""
    if isinstance(evaluated, GroundswellError):
        assert report.problems, evaluated
    else:
        assert not report.problems
        assert evaluated["account"]["records"] == report.records


def check(tmp_path_factory: pytest.TempPathFactory, format: str, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = write_file(folder, format, text)
    evaluated = read_or_refuse(path) if format == "coco" else None
    try:
        report = import_gold(format, path, str(folder / "gold"), ImportOptions())
    except GroundswellError as error:
        assert str(error) and isinstance(evaluated, GroundswellError | None), evaluated
        return
    if evaluated is not None:
        check_same_verdict(report, evaluated)
    open_view(str(folder / "gold")).check()
    for told in report.records.values():
        assert told["in"] == told["kept"] + told["repaired"] + told["refused"]
    json.dumps(report.data(), allow_nan=False).encode("utf-8")
    assert report.text().encode("utf-8")


@st.composite
def voc_files(draw: st.DrawFn) -> str:
    """An annotation of one sound object and one of odd texts."""
    name, width, height, *sides, flag = draw(st.lists(st.sampled_from(TEXTS), min_size=8, max_size=8))
    corners = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), sides))
    odd = f"<object><name>{name}</name><difficult>{flag}</difficult><bndbox>{corners}</bndbox></object>"
    text = VOC.format(width=width or 64, height=height or 48, more=odd)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


FILES: dict[str, st.SearchStrategy[str]] = {
    "coco": changed(COCO).map(json.dumps),
    "mdetr": changed(MDETR).map(json.dumps),
    "odvg": st.lists(changed(ODVG) | changed(DETECTION), min_size=1, max_size=3).map(
        lambda lines: "".join(json.dumps(line) + "\n" for line in lines)
    ),
    "voc": voc_files(),
    "yolo": st.lists(
        st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=8).map(" ".join) | st.text(max_size=20),
        max_size=4,
    ).map("\n".join),
}


@pytest.mark.parametrize("format", FILES)
@settings(max_examples=100)
@given(data=st.data())
def test_any_file_gives_named_errors_and_an_account(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    check(tmp_path_factory, format, data.draw(FILES[format]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("format", FILES)
@settings(max_examples=4000)
@given(data=st.data())
def test_thousands_of_files_give_named_errors_and_an_account(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    check(tmp_path_factory, format, data.draw(FILES[format]))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["coco", "mdetr", "odvg"])
def test_every_odd_value_at_every_place(tmp_path_factory: pytest.TempPathFactory, format: str) -> None:
    for base in {"coco": [COCO], "mdetr": [MDETR], "odvg": [ODVG, DETECTION]}[format]:
        for *way, last in places(base):
            for odd in ODD:
                value = copy.deepcopy(base)
                holder = value
                for key in way:
                    holder = holder[key]
                holder[last] = odd
                check(tmp_path_factory, format, json.dumps(value))


def test_the_unchanged_files_are_imported(imported: Callable) -> None:
    """Or the tests above would be about nothing."""
    for format, value in (("coco", COCO), ("mdetr", MDETR), ("odvg", ODVG), ("odvg", DETECTION)):
        report, rows = imported(format, value)
        assert report.regions >= 1 and len(rows) == 1
