"""Every option has an effect, or is refused with the reason and what would give it one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import build_app


def call(*words: str | Path) -> Any:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


@pytest.fixture
def dense(tmp_path: Path) -> tuple[Path, Path]:
    """Gold of one image with 130 cats and 120 dogs, and results that find each of them."""
    boxes = [[13 * (n % 16), 15 * (n // 16), 10, 12] for n in range(250)]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1 + (n >= 130), "bbox": box, "area": 120, "iscrowd": 0}
        for n, box in enumerate(boxes)
    ]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    gold = {
        "images": [{"id": 1, "width": 208, "height": 240}],
        "annotations": annotations,
        "categories": names,
    }
    results = [
        {field: row[field] for field in ("image_id", "category_id", "bbox")} | {"score": 1 - row["id"] / 1000}
        for row in annotations
    ]
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path / "results.json", tmp_path / "gold.json"


def measure(results: Path, gold: Path, *options: str) -> tuple[dict[str, Any], str]:
    answer = call("evaluate", results, "--gold", gold, "--json", *options)
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout), answer.stderr


def test_cocos_limit_counts_100_detections_of_an_image_and_category_and_says_how_many_it_cut(
    dense: tuple[Path, Path],
) -> None:
    report, told = measure(*dense)

    assert report["AP"] < 0.9 and report["AR100"] == pytest.approx((100 / 130 + 100 / 120) / 2, abs=1e-3)
    assert "50 of 250 detections do not count" in told and "100 best of each image and category" in told


def test_more_detections_count_in_a_results_file_where_the_option_says_so(dense: tuple[Path, Path]) -> None:
    report, told = measure(*dense, "--max-detections", "130")

    assert report["AP"] == report["AR130"] == pytest.approx(1) and report["max_detections"] == 130
    assert "do not count" not in told and "AR100" not in report
    text = call("evaluate", dense[0], "--gold", dense[1], "--max-detections", "130").stdout
    assert "AR130" in text


def test_fewer_detections_count_too(dense: tuple[Path, Path]) -> None:
    report, told = measure(*dense, "--max-detections", "5")

    assert report["AR5"] == report["AR10"] == pytest.approx((5 / 130 + 5 / 120) / 2, abs=1e-3)
    assert "240 of 250 detections do not count" in told


def test_the_dense_image_of_a_field_report_is_measured_in_full(shared_data: Path) -> None:
    folder = shared_data / "field_reports" / "gold"
    files = folder / "dense150_results.json", folder / "dense150.json"

    assert measure(*files, "--max-detections", "300")[0]["AP"] == pytest.approx(1)
    assert "50 of 150 detections do not count" in measure(*files)[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--key-map", "keys.csv"], "add --images, or leave it out"),
        (["--batch-size", "4"], "--batch-size 4: "),
        (["--merged"], "--merged: "),
        (["--chunk", "3"], "--words, --chunk, --per-chunk and --pad are for a teacher of phrases"),
        (["--per-chunk"], "--words, --chunk, --per-chunk and --pad are for a teacher of phrases"),
        (["--pad", "authors"], "--words, --chunk, --per-chunk and --pad are for a teacher of phrases"),
        (["--names", "n.txt"], "takes no --names"),
        (["--group-by", "size"], "--group-by size: no category"),
        (["--overwrite"], "--overwrite would have no effect: no file is written"),
    ],
)
def test_an_option_that_a_results_file_leaves_without_effect_is_refused(
    dense: tuple[Path, Path], options: list[str], says: str
) -> None:
    answer = call("evaluate", dense[0], "--gold", dense[1], *options)

    assert answer.exit_code == 2 and says in answer.stderr


def test_results_are_measured_on_the_images_that_the_folder_has(
    dense: tuple[Path, Path], tmp_path: Path
) -> None:
    gold = json.loads(dense[1].read_text())
    name = gold["images"][0].setdefault("file_name", "dense.jpg")
    gold["images"].append({"id": 99, "width": 8, "height": 8, "file_name": "lost.jpg"})
    gold["annotations"].append({"id": 999, "image_id": 99, "category_id": 1, "bbox": [0, 0, 4, 4]})
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    size = gold["images"][0]["width"], gold["images"][0]["height"]
    (tmp_path / "images").mkdir()
    Image.new("RGB", size).save(tmp_path / "images" / name)

    with_images, _ = measure(dense[0], tmp_path / "gold.json", "--images", str(tmp_path / "images"))
    without, _ = measure(dense[0], tmp_path / "gold.json")

    assert with_images["images"] == {"gold": 2, "evaluated": 1} and with_images["left_out"] == [99]
    assert without["images"] == {"gold": 2, "evaluated": 2}
    assert with_images["AR100"] > without["AR100"]


def test_a_key_map_without_images_is_refused(dense: tuple[Path, Path], tmp_path: Path) -> None:
    answer = call("evaluate", tmp_path / "model", "--gold", dense[1], "--key-map", "keys.csv")

    assert answer.exit_code == 2 and "add --images, or leave it out" in answer.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["inspect", "V", "--to", "P", "--key", "k", "--n", "3"], "--n would have no effect: --key names"),
        (["inspect", "V", "--to", "P", "--key", "k", "--seed", "3"], "--seed would have no effect"),
        (["status", "E", "--every", "2"], "--every would have no effect: the status is shown once"),
        (["plan", "job.yaml", "--overwrite"], "--overwrite would have no effect: no file is written"),
        (
            ["gold", "import", "coco", "F", "--to", "G", "--without-images", "--key-map", "k.csv"],
            "--key-map would have no effect: --without-images reads no shards",
        ),
        (
            ["gold", "import", "coco", "F", "--to", "G", "--without-images", "--seed", "1"],
            "--seed would have no effect: no absent categories are drawn",
        ),
    ],
)
def test_an_option_of_a_verb_without_effect_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)

    answer = call(*words)

    assert answer.exit_code == 2 and says in answer.stderr
