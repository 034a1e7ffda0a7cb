"""`groundswell gold import`: one object on stdout, mistakes told with their exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.views import open_view
from pipelines.cli import build_app
from student.gold.codes import REFUSED, REPAIRED


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build_app(), ["gold", "import", *words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def coco_file(tmp_path: Path, picture: Callable) -> Path:
    picture("one.jpg")
    held = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "width": 64, "height": 48}
            for n, name in enumerate(["one", "two"])
        ],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(held))
    return tmp_path / "coco.json"


def test_counts_are_printed_as_json_and_stand_in_the_manifest(tmp_path: Path, coco_file: Path) -> None:
    images, to = str(tmp_path / "images"), str(tmp_path / "gold")

    code, out, err = run("coco", str(coco_file), "--images", images, "--to", to, "--json")
    _, text, _ = run("coco", str(coco_file), "--images", images, "--to", to)

    report, manifest = json.loads(out), open_view(to).manifest
    assert code == 3 and "1 of 2 images were refused (image_missing 1), more than 0.05" in err
    assert report["digest"] == manifest.digest and manifest.kind == "gold"
    assert (
        report["records"]
        == manifest.provenance["records"]
        == {
            "annotations": {"in": 1, "kept": 1, "repaired": 0, "refused": 0, "codes": {}},
            "images": {"in": 2, "kept": 1, "repaired": 0, "refused": 1, "codes": {"image_missing": 1}},
        }
    )
    assert report["examples"] == {"images image_missing": ["1: two.jpg"]}
    assert REFUSED["image_missing"] in text and "1: two.jpg" in text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("coco", "FILE"), 2, "expected either --images"),
        (("vocs", "FILE", "--without-images"), 2, "expected one of coco, flickr30k, mdetr, odvg, voc, yolo"),
        (("coco", "/nowhere.json", "--without-images"), 4, "no such file or folder; correct the path"),
        (("flickr30k", "FILE", "--without-images"), 2, "format flickr30k expects a folder"),
        (("coco", "FILE", "--images", "/nowhere"), 4, "is not a folder"),
        (("coco", "FILE", "--without-images", "--split", "/nowhere"), 4, "--split"),
        (("odvg", "FILE", "--without-images"), 1, "no record is left; 1 of 1 lines refused"),
        (("coco", "FILE", "--images", "/tmp/{name}"), 2, "{name} is unknown; expected a folder"),
        (("coco", "FILE", "--images", ""), 2, "is empty; expected a folder"),
        (("coco", "FILE", "--without-images", "--label-map", "FILE"), 2, "--label-map is for odvg"),
        (("coco", "FILE", "--without-images", "--dialect", "tao"), 2, "--dialect is for odvg"),
        (
            ("mdetr", "FILE", "--without-images", "--negatives", "authors"),
            2,
            "is for coco and odvg and voc and yolo",
        ),
        (("coco", "FILE", "--images", "docs"), 1, "e.g. 0: one.jpg"),
    ],
)
def test_a_mistake_is_one_message_and_its_exit_code(
    tmp_path: Path, coco_file: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    given = [str(coco_file) if word == "FILE" else word for word in words]

    exit_code, out, err = run(*given, "--to", str(tmp_path / "gold"))

    assert (exit_code, out) == (code, "") and says in err


def test_the_documented_codes_are_those_of_the_code(project_root: Path) -> None:
    text = (project_root / "docs" / "gold.md").read_text(encoding="utf-8")

    for name, meaning in {**REPAIRED, **REFUSED}.items():
        assert f"| `{name}` | {meaning} |" in text
