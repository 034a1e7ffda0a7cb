"""`check` reads a file of labels as an import would, says which format it looks like, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import build_app
from pipelines.exchange.guess_format import guess_format

SIZE = {"width": 64, "height": 48}
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "one.jpg", **SIZE}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}],
    "categories": [{"id": 1, "name": "dog"}],
}
MDETR = {**COCO, "annotations": [{**COCO["annotations"][0], "tokens_positive": [[0, 3]]}]}
LINE = {
    "filename": "one.jpg",
    **SIZE,
    "detection": {"instances": [{"bbox": [0, 0, 5, 5], "category": "dog"}]},
}


def run(*words: object) -> Any:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_the_format_is_guessed_and_the_counts_are_those_of_an_import(tmp_path: Path) -> None:
    file = write(tmp_path / "gold.json", COCO)

    checked = json.loads(run("check", file, "--json").stdout)
    imported = json.loads(
        run("gold", "import", "coco", file, "--without-images", "--to", tmp_path / "gold", "--json").stdout
    )

    assert checked["format"] == "coco"
    assert all(imported[name] == value for name, value in checked.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gold", "gold.json"]


@pytest.mark.parametrize(
    ("value", "format"),
    [(COCO, "coco"), (MDETR, "mdetr"), (LINE, "odvg"), ([1, 2], None), ({"a": 1}, None), ("text", None)],
)
def test_a_format_is_known_by_the_beginning_of_a_file(
    tmp_path: Path, value: object, format: str | None
) -> None:
    assert guess_format(write(tmp_path / "file", value)) == format


def test_a_folder_of_sentences_looks_like_flickr30k(tmp_path: Path) -> None:
    for name in ("Sentences", "Annotations"):
        (tmp_path / name).mkdir()

    assert guess_format(tmp_path) == "flickr30k"


def test_a_file_of_no_known_format_is_refused_with_the_formats(tmp_path: Path) -> None:
    done = run("check", write(tmp_path / "file", {"a": 1}))

    assert done.exit_code == 2 and "looks like none of coco, flickr30k, mdetr, odvg, voc, yolo" in done.stderr


@pytest.mark.parametrize(("format", "value", "likely"), [("odvg", COCO, "coco"), ("coco", LINE, "odvg")])
def test_an_import_of_another_format_names_the_one_that_the_file_looks_like(
    tmp_path: Path, format: str, value: object, likely: str
) -> None:
    file = write(tmp_path / "file", value)

    for words in (["check", file, "--format", format], ["gold", "import", format, file, "--without-images"]):
        to = [] if words[0] == "check" else ["--to", tmp_path / "gold"]
        done = run(*words, *to)
        assert done.exit_code in (1, 2) and f"The file looks like {likely}" in done.stderr


def test_a_file_that_would_lose_too_much_ends_with_exit_3(tmp_path: Path) -> None:
    lost = {**COCO, "annotations": [*COCO["annotations"], {"id": 2, "image_id": 1, "category_id": 2}]}
    lost["categories"] = [*COCO["categories"], {"id": 2, "name": "cat"}]
    file = write(tmp_path / "gold.json", lost)

    done = run("check", file)

    assert done.exit_code == 3 and "1 of 2 annotations were refused (box_not_numbers 1)" in done.stderr
    assert run("check", file, "--max-refused", "0.5").exit_code == 0


def test_an_option_that_the_format_would_ignore_is_refused(tmp_path: Path) -> None:
    done = run("check", write(tmp_path / "gold.json", COCO), "--dialect", "tao")

    assert done.exit_code == 2 and "--dialect is for odvg" in done.stderr
