"""Directories of object detectors are evaluated by the names in their own config.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli import build_app
from schemas.errors import ConfigError
from student.evaluate.predictors import MIN_SCORE
from student.evaluate.run import evaluate
from teacher.detectors.formats import find_format
from teacher.detectors.settings import DetectorSettings
from tests.mutations import Mutation
from tests.teacher.huggingface.tiny_detectors import NAMES, save_detector

FORMS = ("N/A", "Person", "Motor_Car", "CAT", "tvmonitor", "other thing")
"""Names in forms that data sets use."""
GOLD = ("person", "motor car", "cat", "tv", "N/A")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_detector("rt_detr", tmp_path_factory.mktemp("m") / "rt_detr", names=FORMS)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, (height, width) in enumerate(((64, 96), (80, 60), (64, 64))):
        pixels = np.random.default_rng(number).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST).save(
            folder / f"{number}.png"
        )
    return folder


def detect(model: Path, path: Path, names: Sequence[str] = FORMS) -> list[dict[str, Any]]:
    """Return what the detector finds in an image: name of the class, xywh, score."""
    detector = find_format(str(model)).load(DetectorSettings(model=str(model), classes=tuple(names)))
    with Image.open(path) as image:
        prepared = detector.prepare_image(np.asarray(image.convert("RGB")))
    (found,) = detector.detect_batch([prepared], MIN_SCORE)
    return [
        {"name": names[label], "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(score)}
        for (x0, y0, x1, y1), score, label in zip(
            found.boxes_N4.tolist(), found.scores_N, found.classes_N, strict=True
        )
    ]


def write_gold(
    folder: Path, images: Path, names: Sequence[str], boxes: dict[str, dict[str, list[float]]]
) -> Path:
    """Write COCO gold. boxes: file name -> category -> box."""
    records = []
    for number, path in enumerate(sorted(images.iterdir())):
        with Image.open(path) as image:
            records.append(
                {"id": number, "file_name": path.name, "width": image.width, "height": image.height}
            )
    annotations = [
        {
            "id": 10 * record["id"] + names.index(name),
            "image_id": record["id"],
            "category_id": names.index(name) + 1,
            "bbox": box,
        }
        for record in records
        for name, box in boxes.get(record["file_name"], {}).items()
    ]
    gold = {
        "images": records,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        "annotations": annotations,
    }
    (folder / "gold.json").write_text(json.dumps(gold))
    return folder / "gold.json"


def best_of(found: Sequence[dict[str, Any]], name: str) -> list[float]:
    return max((one for one in found if one["name"] == name), key=lambda one: one["score"])["bbox"]


def run_evaluate(model: Path, gold: Path, images: Path, *more: object) -> Result:
    words = ["evaluate", model, "--gold", gold, "--images", images, "--json", "--no-progress", *more]
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def test_classes_match_categories_in_other_case_with_underscores_and_by_synonym(
    tmp_path: Path, model: Path, images: Path
) -> None:
    pairs = {"person": "Person", "motor car": "Motor_Car", "cat": "CAT", "tv": "tvmonitor"}
    boxes = {}
    for path in sorted(images.iterdir()):
        found = detect(model, path)
        boxes[path.name] = {category: best_of(found, name) for category, name in pairs.items()}
    gold = write_gold(tmp_path, images, GOLD, boxes)

    answer = run_evaluate(model, gold, images, "--results-to", tmp_path / "results.json")

    assert answer.exit_code == 0, answer.stderr
    report = json.loads(answer.stdout)
    assert report["classes"]["matched"] == 4
    assert report["classes"]["unmatched"] == ["other thing"]
    assert report["classes"]["unmatched_categories"] == ["N/A"]
    assert report["classes"]["names"] == f"id2label of {model / 'config.json'}"
    assert "4 classes match by case, blanks or synonym: Person = person" in answer.stderr
    assert "1 of 5 categories of the gold are not a class of the model" in answer.stderr
    assert "N/A" not in answer.stderr.split("are left out")[0]
    rows = json.loads((tmp_path / "results.json").read_text())
    of_image = {path.name: detect(model, path) for path in sorted(images.iterdir())}
    ids = {name: GOLD.index(category) + 1 for category, name in pairs.items()}
    for number, name in enumerate(of_image):
        own = [(row["category_id"], *row["bbox"], row["score"]) for row in rows if row["image_id"] == number]
        wanted = [
            (ids[one["name"]], *one["bbox"], one["score"]) for one in of_image[name] if one["name"] in ids
        ]
        assert len(own) == len(wanted) > 10
        assert np.allclose(own, wanted, atol=1e-3)
    assert report["AP50"] > 0.2


def test_many_images_at_once_give_what_one_by_one_gives(tmp_path: Path, model: Path, images: Path) -> None:
    gold = write_gold(tmp_path, images, GOLD, {"0.png": {"cat": [0, 0, 9, 9]}})
    results = {}
    for size in (1, 2, 16):
        evaluate(model, gold, images, bootstrap=0, batch_size=size, results_to=tmp_path / f"{size}.json")
        results[size] = json.loads((tmp_path / f"{size}.json").read_text())

    for size in (2, 16):
        assert [row["category_id"] for row in results[size]] == [row["category_id"] for row in results[1]]
        assert np.allclose(
            [row["score"] for row in results[size]], [row["score"] for row in results[1]], atol=1e-5
        )


def test_a_join_that_matches_nothing_is_refused_with_both_lists(
    tmp_path: Path, model: Path, images: Path
) -> None:
    answer = run_evaluate(model, write_gold(tmp_path, images, ["screw", "N/A"], {}), images)

    assert answer.exit_code == 2 and answer.stdout == ""
    assert "none of its 6 classes (N/A, Person, Motor_Car" in answer.stderr and "screw, N/A" in answer.stderr


def test_a_model_without_names_needs_a_file_of_them(tmp_path: Path, images: Path) -> None:
    model = save_detector("rt_detr", tmp_path / "m", names=None)
    gold = write_gold(tmp_path, images, ["cat"], {})
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    (tmp_path / "short.txt").write_text("cat\ndog")

    answer = run_evaluate(model, gold, images)
    assert (
        answer.exit_code == 2 and "does not name its classes in id2label; give --names FILE" in answer.stderr
    )
    short = run_evaluate(model, gold, images, "--names", tmp_path / "short.txt")
    assert short.exit_code == 2 and "6 classes, but 2 names" in short.stderr
    named = run_evaluate(model, gold, images, "--names", tmp_path / "names.txt")
    assert named.exit_code == 0 and json.loads(named.stdout)["classes"]["matched"] == 1


def test_coco_is_not_assumed_for_a_directory_of_80_classes(tmp_path: Path, images: Path) -> None:
    model = save_detector("detr", tmp_path / "m", names=[f"LABEL_{number}" for number in range(80)])

    with pytest.raises(ConfigError, match="does not name its classes"):
        evaluate(model, write_gold(tmp_path, images, ["person"], {}), images)


MUTATIONS = (
    Mutation(
        "student/evaluate/detector_names.py",
        "        if not form.may_be_coco:",
        "        if False:",
        "test_coco_is_not_assumed_for_a_directory_of_80_classes",
    ),
    Mutation(
        "student/evaluate/detector_names.py",
        "    return None if name is None else exact.get(name, alike.get(_fold_name(name)))",
        "    return exact.get(name or NO_NAME, alike.get(_fold_name(name or NO_NAME)))",
        "test_a_join_that_matches_nothing_is_refused_with_both_lists",
    ),
    Mutation(
        "student/evaluate/detector_names.py",
        "    if not met:",
        "    if False:",
        "test_a_join_that_matches_nothing_is_refused_with_both_lists",
    ),
    Mutation(
        "student/evaluate/detector_names.py",
        "exact.get(name, alike.get(_fold_name(name)))",
        "exact.get(name)",
        "test_classes_match_categories_in_other_case_with_underscores_and_by_synonym",
    ),
)
"""Each removes a guard. `python -m tests.mutations` shows that the named test fails then."""
