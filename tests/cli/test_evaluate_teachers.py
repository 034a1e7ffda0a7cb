"""`evaluate` with the kind, the settings and the batch size of a teacher."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from engine.reading.images import DecodedImage, decode_image
from pipelines.cli import build_app
from schemas.labeler import NeededSize, PreparedSample
from student.evaluate.predictors import AUTHORS_ROWS, PromptPredictor
from student.evaluate.run import evaluate
from teacher.labelers.glip_labeler import GlipLabeler
from teacher.registry import parse_teacher
from tests.mutations import Mutation
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture
from tests.teacher.huggingface.tiny_detectors import NAMES, save_detector
from tests.teacher.huggingface.tiny_owl import save_owl
from tests.teacher.tiny_onnx import ANCHORS, write_yolox

WIDTH, HEIGHT = 640, 512
VERB, PREDICTORS = "pipelines/cli/verbs/evaluate.py", "student/evaluate/predictors.py"
MUTATIONS = (
    Mutation(VERB, "_choose_model(model, kind, settings),", "model,", "test_a_class_of_the_user"),
    Mutation(VERB, 'batch_size=batch_size or "auto",', "", "test_the_rows_of_a_batch"),
    Mutation(
        VERB, 'if kind is None and model.endswith(".json"):', "if False:", "test_detections_take_no_settings"
    ),
    Mutation(
        PREDICTORS, "AUTHORS_ROWS if batch_size ==", "1 if batch_size ==", "test_the_authors_padding_keeps"
    ),
    Mutation(
        PREDICTORS,
        "detector.find_needed_size if reduces_jpegs else None",
        "None",
        "test_gold_images_are_decoded_at_a_reduced_scale",
    ),
    Mutation(
        "student/evaluate/gold/images.py",
        "decode_image(data, needed_size)",
        "decode_image(data)",
        "test_gold_images_are_decoded_at_a_reduced_scale",
    ),
    Mutation(
        "student/evaluate/gold/images.py",
        "        height, width = self.stored_size",
        "        height, width = self.rgb_u8.shape[:2]",
        "test_gold_images_are_decoded_at_a_reduced_scale",
    ),
)


class Center:
    """A class of the user, in the documented form."""

    digest = "center, version 1"
    score_kind = "center.share"

    def __init__(self, model: str, **options: Any) -> None:
        self.score = options.get("score", 0.9)

    def find(self, image_rgb_u8: np.ndarray, phrases: list[str]) -> Iterator[Any]:
        for number in range(len(phrases)):
            yield number, (WIDTH / 4, HEIGHT / 4, 3 * WIDTH / 4, 3 * HEIGHT / 4), self.score


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """Write smooth JPEGs, each with one box in its middle."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    images, boxes = [], []
    for number in range(3):
        waves = [np.sin(x / (50 + 20 * number)), np.cos(y / 60), np.sin((x + y) / 80)]
        pixels = (np.stack(waves, axis=-1) * 110 + 128).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", quality=95)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT})
        box = [WIDTH / 4, HEIGHT / 4, WIDTH / 2, HEIGHT / 2]
        boxes.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    categories = [{"id": 1, "name": "person"}]
    path = tmp_path / "gold.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


def call(model: object, gold: Path, *more: object) -> Result:
    words = ["evaluate", model, "--gold", gold, "--images", gold.parent, "--json", "--no-progress", *more]
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def ask(model: object, gold: Path, *more: object) -> dict[str, Any]:
    result = call(model, gold, *more)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def test_a_class_of_the_user_is_evaluated_with_its_options(
    gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("mine_to_evaluate")
    module.Center = Center  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    results = tmp_path / "results.json"

    report = ask(
        "",
        gold,
        "--kind",
        "mine_to_evaluate:Center",
        "--set",
        "options={score: 0.5}",
        "--results-to",
        results,
    )

    assert report["AP"] == pytest.approx(1) and report["detections"] == 3
    assert {row["score"] for row in json.loads(results.read_text())} == {0.5}


def test_settings_of_a_kind_that_the_files_decide(gold: Path, tmp_path: Path) -> None:
    model = write_yolox(tmp_path / "m.onnx", answer_of(2))

    report = ask(model, gold, "--set", "classes=[cat, person]")

    assert report["classes"]["names"] == "teacher.classes" and report["classes"]["matched"] == 1
    wrong = call(model, gold, "--set", "clases=[cat]")
    assert wrong.exit_code == 2 and "clases" in wrong.stderr


def answer_of(classes: int) -> np.ndarray:
    """Return the answer of a YOLOX that sees each class in the middle of every image."""
    answer = np.zeros((ANCHORS, 5 + classes), np.float32)
    answer[-1] = 0.9
    answer[-1, :4] = (0.5, 0.5, np.log(0.5), np.log(0.5))
    return answer


def test_detections_take_no_settings(gold: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")

    result = call(tmp_path / "results.json", gold, "--set", "classes=[cat]")

    assert result.exit_code == 2 and "is a file of detections, for which no teacher runs" in result.stderr


def test_the_rows_of_a_batch_are_those_asked_for_and_one_on_a_cpu(
    gold: Path,
    glip_folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    label = GlipLabeler.label

    def count(self: GlipLabeler, batch: list[PreparedSample | None]) -> Any:
        seen.append(len(batch))
        return label(self, batch)

    monkeypatch.setattr(GlipLabeler, "label", count)

    alone = ask(glip_folder, gold, "--set", "device=cpu")
    assert set(seen) == {1} and len(seen) == 3
    seen.clear()
    together = ask(glip_folder, gold, "--set", "device=cpu", "--batch-size", 2)
    assert set(seen) == {2}
    assert together["detections"] == pytest.approx(alone["detections"], abs=2)


def test_the_authors_padding_keeps_the_rows_that_its_numbers_depend_on(glip_folder: Path) -> None:  # noqa: F811
    from student.evaluate.class_prompts import PromptOptions

    predictor = PromptPredictor(glip_folder, "auto", PromptOptions(pad="authors"))

    assert predictor._labeler.batch_size == AUTHORS_ROWS


@pytest.mark.parametrize("kind", ["onnx", "directory", "owlv2"])
def test_gold_images_are_decoded_at_a_reduced_scale(
    kind: str, gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, Any]
    if kind == "owlv2":
        values = {"kind": "owlv2", "model": str(save_owl(tmp_path / "m", version=2)), "device": "cpu"}
    elif kind == "directory":
        values = {"kind": "detector", "model": str(save_detector("rt_detr", tmp_path / "m")), "device": "cpu"}
    else:
        model = write_yolox(tmp_path / "m.onnx", answer_of(len(NAMES)))
        values = {"kind": "detector", "model": str(model), "classes": NAMES}
    found: dict[bool, list[dict[str, Any]]] = {}
    sides: list[int] = []

    def watch(data: bytes, needed_size: NeededSize | None = None) -> DecodedImage:
        image = decode_image(data, needed_size)
        sides.append(max(image.rgb_u8.shape))
        return image

    monkeypatch.setattr("student.evaluate.gold.images.decode_image", watch)
    for reduces in (False, True):
        results = tmp_path / f"{reduces}.json"
        settings = parse_teacher({**values, "reduce_jpegs": reduces})
        evaluate(settings, gold, gold.parent, bootstrap=0, results_to=results)
        found[reduces] = json.loads(results.read_text())

    assert set(sides[:3]) == {WIDTH} and len(sides) == 6 and max(sides[3:]) < WIDTH / 2
    plain, reduced = (
        sorted((row["image_id"], *row["bbox"], row["score"]) for row in found[reduces])[:30]
        for reduces in (False, True)
    )
    assert plain and len(plain) == len(reduced)
    assert max(row[1] + row[3] for row in reduced) > WIDTH / 2, "pixels of the whole image"
    nearest = np.abs(np.array(plain)[:, None, 1:5] - np.array(reduced)[:, 1:5]).max(axis=-1).min(axis=1)
    assert np.median(nearest) < 0.05 * WIDTH
