"""One door for all gold: the tiny world's, real COCO files, and gold that was imported from any format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from engine.views import write_view
from pipelines.cli import build_app
from pipelines.demo.world.gold import draw_test_scenes, write_gold
from pipelines.demo.world.settings import WorldSettings
from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.import_gold import import_gold
from schemas.errors import ConfigError, ConflictError
from student.evaluate.class_prompts import PromptOptions
from student.evaluate.gold.images import evaluation_images
from student.evaluate.gold.load import gold_phrases, read_gold
from student.evaluate.run import evaluate


@pytest.fixture(scope="module")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four held-out scenes: `coco.json`, `images/`, `view/`."""
    world = WorldSettings(test_images=4)
    folder = tmp_path_factory.mktemp("world")
    write_gold(folder, "test", draw_test_scenes(world), world)
    return folder


def perfect(gold: dict[str, Any]) -> list[dict[str, Any]]:
    """Return detections that are the gold's own boxes, without crowds."""
    fields = ("image_id", "category_id", "bbox")
    return [{**{f: a[f] for f in fields}, "score": 0.9} for a in gold["annotations"] if not a.get("iscrowd")]


def scored(path: Path, tmp_path: Path, **options: Any) -> dict[str, Any]:
    results = tmp_path / "results.json"
    results.write_text(json.dumps(perfect(read_gold(path))))
    return evaluate(results, path, bootstrap=0, **options)


def test_the_tiny_world_goes_through_the_door(tiny_world: Path, tmp_path: Path) -> None:
    for form in ("coco.json", "view"):
        report = scored(tiny_world / form, tmp_path)
        assert report["AP"] == pytest.approx(1) and report["images"] == {"gold": 4, "evaluated": 4}


def test_real_gold_goes_through_the_same_door(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "real_gold"
    for name in ("instances.json", "third_party/cocoapi_instances_val2014_100.json"):
        assert scored(folder / name, tmp_path)["AP"] == pytest.approx(1)


def test_the_coco_demo_gives_its_published_ap_on_the_command_line(shared_data: Path) -> None:
    folder = shared_data / "real_gold" / "third_party"
    results = folder / "cocoapi_instances_val2014_fakebbox100_results.json"
    gold = folder / "cocoapi_instances_val2014_100.json"

    answer = CliRunner().invoke(build_app(), ["evaluate", str(results), "--gold", str(gold), "--json"])

    expected = json.loads((folder / "cocoapi_fakebbox100_EXPECTED.json").read_text())["bbox"]
    told = json.loads(answer.stdout)
    assert {name: round(told[name], 3) for name in expected} == expected and told["AP"] == pytest.approx(
        0.505, abs=5e-4
    )


def test_imported_gold_gives_a_detector_the_numbers_of_the_file_it_came_from(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "real_gold"
    held = json.loads((folder / "instances.json").read_text())
    there = {path.name for path in sorted((folder / "images").iterdir())[:5]}
    held["images"] = [image for image in held["images"] if image["file_name"] in there]
    ids = {image["id"] for image in held["images"]}
    held["annotations"] = [a for a in held["annotations"] if a["image_id"] in ids]
    (tmp_path / "few.json").write_text(json.dumps(held))
    images = open_images(str(folder / "images"))
    import_gold("coco", tmp_path / "few.json", str(tmp_path / "gold"), ImportOptions(images=images))
    model = shared_data / "real_teacher" / "yolox_nano.onnx"

    plain = evaluate(model, tmp_path / "few.json", folder / "images", bootstrap=0)
    report = evaluate(model, tmp_path / "gold", bootstrap=0)

    same = ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")
    assert {n: report[n] for n in same} == pytest.approx({n: plain[n] for n in same}, abs=1e-6)
    assert report["images"]["evaluated"] == len(there) and report["AP"] > 0.1


def lvis_file(tmp_path: Path) -> Path:
    url = "http://images.cocodataset.org/val2017/"
    lists = {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}
    size = {"width": 64, "height": 48}
    held = {
        "images": [{"id": 139, "coco_url": url + "one.jpg", **size, **lists}],
        "annotations": [{"id": 1, "image_id": 139, "category_id": 1, "bbox": [0, 0, 20, 20], "area": 300}],
        "categories": [
            {"id": 1, "name": "aerosol_can", "frequency": "r"},
            {"id": 2, "name": "air_conditioner", "frequency": "f"},
        ],
    }
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "images" / "one.jpg")
    (tmp_path / "lvis.json").write_text(json.dumps(held))
    return tmp_path / "lvis.json"


def test_lvis_keeps_frequencies_and_federated_lists_through_an_import(tmp_path: Path) -> None:
    file = lvis_file(tmp_path)
    import_gold(
        "coco", file, str(tmp_path / "gold"), ImportOptions(images=open_images(str(tmp_path / "images")))
    )

    gold = read_gold(tmp_path / "gold")

    assert [(c["name"], c["frequency"]) for c in gold["categories"]] == [
        ("aerosol can", "r"),
        ("air conditioner", "f"),
    ]
    assert gold["images"][0]["neg_category_ids"] == [2] and gold["images"][0][
        "not_exhaustive_category_ids"
    ] == [1]
    for path in (file, tmp_path / "gold"):
        told = scored(path, tmp_path, protocol="fixed_ap")
        assert (told["APr"], told["APf"], told["ARall"]) == pytest.approx((1, -1, 1)) and told[
            "protocol"
        ] == "fixed_ap"
        assert "exhaustive" not in told and scored(path, tmp_path)["exhaustive"] is False, "by COCO's rules"
    with pytest.raises(ConfigError, match="this gold has no such fields"):
        evaluate(tmp_path / "results.json", _without_lists(file, tmp_path), protocol="lvis")


def _without_lists(file: Path, tmp_path: Path) -> Path:
    held = json.loads(file.read_text())
    del held["images"][0]["neg_category_ids"]
    (tmp_path / "bare.json").write_text(json.dumps(held))
    return tmp_path / "bare.json"


def test_lvis_on_the_command_line_and_its_images_are_found_by_url(tmp_path: Path, shared_data: Path) -> None:
    file = lvis_file(tmp_path)
    held = json.loads(file.read_text())
    held["categories"][0]["name"] = "cat"
    file.write_text(json.dumps(held))
    model = str(shared_data / "real_teacher" / "yolox_nano.onnx")
    words = ["evaluate", model, "--gold", str(file), "--images", str(tmp_path / "images")]

    answer = CliRunner().invoke(build_app(), [*words, "--lvis"])

    assert answer.exit_code == 0 and "lvis: federated, the 300 best detections of each image" in answer.stdout
    assert "1 of 1 gold images" in answer.stdout and "AR300" in answer.stdout


def test_captions_of_imported_gold_ask_for_their_phrases(tmp_path: Path) -> None:
    region = {"bbox": [0, 0, 5, 5], "phrase": "a man"}
    both = {"caption": "a man and a dog", "regions": [region, {"bbox": [5, 5, 9, 9], "phrase": "a dog"}]}
    line = {"filename": "one.jpg", "width": 64, "height": 48, "grounding": both}
    (tmp_path / "lines.jsonl").write_text(json.dumps(line))
    import_gold("odvg", tmp_path / "lines.jsonl", str(tmp_path / "gold"), ImportOptions())

    gold = read_gold(tmp_path / "gold")
    phrases, boxes = gold_phrases(gold)
    report = scored(tmp_path / "gold", tmp_path)

    assert [phrase.text for phrase in phrases[0]] == ["a man", "a dog"]
    assert boxes[0][1].tolist() == [[5, 5, 9, 9]]
    assert report["exhaustive"] is False and "does not box everything" in report.text()


def test_an_image_that_changed_since_the_import_is_not_measured_on(tmp_path: Path) -> None:
    file = lvis_file(tmp_path)
    import_gold(
        "coco", file, str(tmp_path / "gold"), ImportOptions(images=open_images(str(tmp_path / "images")))
    )
    records = read_gold(tmp_path / "gold")["images"]
    assert len(list(evaluation_images(None, records))) == 1

    Image.fromarray(np.ones((48, 64, 3), np.uint8)).save(tmp_path / "images" / "one.jpg")

    with pytest.raises(ConflictError, match="not the one that was imported"):
        list(evaluation_images(None, records))


def test_a_teachers_view_is_no_gold_and_a_file_name_that_leaves_its_folder_no_image(
    tmp_path: Path, shared_data: Path
) -> None:
    write_view(str(tmp_path / "view"), [], kind="view", provenance={})
    with pytest.raises(ConfigError, match="measured on human gold"):
        read_gold(tmp_path / "view")

    file = lvis_file(tmp_path)
    held = json.loads(file.read_text())
    held["images"][0]["file_name"], held["categories"][0]["name"] = "../images/one.jpg", "cat"
    file.write_text(json.dumps(held))
    with pytest.raises(ConfigError, match="leaves the folder"):
        evaluate(shared_data / "real_teacher" / "yolox_nano.onnx", file, tmp_path / "images")


def test_a_detector_that_is_given_words_is_refused_before_it_looks_at_an_image(tiny_world: Path) -> None:
    with pytest.raises(ConfigError, match="takes no prompts"):
        evaluate(
            tiny_world / "none.onnx",
            tiny_world / "coco.json",
            tiny_world / "images",
            prompt_options=PromptOptions(chunk=3),
        )
