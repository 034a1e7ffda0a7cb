"""`transformers.pipeline("zero-shot-object-detection")` on a saved directory, with this project and without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, pipeline

import groundswell  # noqa: F401 - registers GLIP
from schemas.errors import ConfigError
from schemas.records import Phrase, Pixels, Region, Sample
from teacher.factories import make_labeler
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.models.glip.checkpoint.portable_code import write_code
from teacher.models.glip.tuning import add_prompt_offset
from tests.mutations import Mutation

TASK = "zero-shot-object-detection"
LABELS = ("a red circle", "two blue star")
THRESHOLD, NMS_IOU, MOST_BOXES = 0.2, 0.6, 100
HEIGHT, WIDTH = 150, 210
"""Larger than the model's input, so that boxes in the wrong pixels show."""
OUTSIDE = """
import importlib.abc, json, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("groundswell", "teacher", "schemas", "engine", "student", "pipelines"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocker())
from PIL import Image
from transformers import pipeline
folder, picture, labels = sys.argv[1:4]
options = {"trust_remote_code": True} if sys.argv[4:] else {}
detector = pipeline("zero-shot-object-detection", model=folder, device="cpu", **options)
print(json.dumps(detector(Image.open(picture), candidate_labels=json.loads(labels), threshold=0.2)))
"""
IMAGES = "teacher/models/glip/images/processor.py"
MUTATIONS = (
    Mutation(IMAGES, "width / inside[1], height / inside[0]", "1, 1", "test_boxes_of_each_label_are_the_labelers"),
    Mutation(
        IMAGES, "range(1, logits.shape[-1] - 1)", "range(logits.shape[-1])",
        "test_boxes_of_each_label_are_the_labelers",
    ),
    Mutation(
        IMAGES, "        _list_for_pipelines()\n", "", "test_no_error_is_logged_and_nobody_is_asked_to_run_code"
    ),
    Mutation(
        IMAGES, "if len(logits) != 1 or len(anchors) != logits.shape[1]:", "if False:",
        "test_a_batch_is_refused_with_what_to_do",
    ),
    Mutation(IMAGES, "        if not tokens:\n", "        if False:\n", "test_an_empty_label_is_refused"),
    Mutation(
        "teacher/models/glip/layers/text_encoder.py", "if width > self.positions.num_embeddings:", "if False:",
        "test_a_label_that_is_too_long_is_refused_not_cut",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(glip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pipeline") / "model"
    shutil.copytree(glip_folder, place)
    write_code(place)
    return place


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def detector(folder: Path) -> Any:
    return pipeline(TASK, model=str(folder), device="cpu")


def label_alone(folder: Path, image: Image.Image, text: str) -> list[Region]:
    """Return every candidate that our labeler gives for one label, without suppression."""
    labeler = make_labeler(
        {"kind": "glip", "model": str(folder), "device": "cpu", "prompt": "phrases"}, 1, THRESHOLD
    )
    sample = Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="file"), image_sha256="0", caption=text,
        width=image.width, height=image.height, phrases=(Phrase(begin=0, end=len(text), text=text, root=text),),
    )  # fmt: skip
    regions = labeler.label([labeler.prepare(sample, np.asarray(image))])[0]
    labeler.close()
    return regions


def overlap(first: list[float], second: list[float]) -> float:
    """Return the intersection over union of two half-open boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def corners(box: dict[str, int]) -> list[int]:
    return [box[name] for name in ("xmin", "ymin", "xmax", "ymax")]


def test_boxes_of_each_label_are_the_labelers(folder: Path, image: Image.Image, detector: Any) -> None:
    found = detector(image, candidate_labels=list(LABELS), threshold=THRESHOLD)

    assert {one["label"] for one in found} == set(LABELS)
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    for text in LABELS:
        own = [one for one in found if one["label"] == text]
        candidates = label_alone(folder, image, text)
        kept: list[tuple[float, list[float]]] = []
        for one in own:
            # the pipeline cuts coordinates to whole pixels
            (same,) = (
                region
                for region in candidates
                if abs(region.score - one["score"]) < 1e-5
                and np.allclose(
                    corners(one["box"]), np.floor([region.x0, region.y0, region.x1, region.y1]), atol=1.001
                )
            )
            kept.append((same.score, [same.x0, same.y0, same.x1, same.y1]))
        # what the pipeline leaves out is suppressed by a better box of the label, and nothing else is
        for index, (_, box) in enumerate(kept):
            assert all(overlap(box, other) < NMS_IOU + 0.02 for _, other in kept[:index])
        lowest = kept[-1][0] if len(kept) >= MOST_BOXES else 0.0
        for region in candidates:
            if region.score < lowest:
                continue
            box = [region.x0, region.y0, region.x1, region.y1]
            better = [other for score, other in kept if score >= region.score - 1e-6]
            assert any(overlap(box, other) > NMS_IOU - 0.02 for other in better)
        assert len(candidates) > len(kept) > 2
    assert WIDTH - 2 <= max(one["box"]["xmax"] for one in found) <= WIDTH
    assert HEIGHT - 2 <= max(one["box"]["ymax"] for one in found) <= HEIGHT


def test_labels_are_asked_alone(image: Image.Image, detector: Any) -> None:
    both = detector(image, candidate_labels=list(LABELS), threshold=THRESHOLD)
    alone = detector(image, candidate_labels=[LABELS[1]], threshold=THRESHOLD)

    assert [one for one in both if one["label"] == LABELS[1]] == alone


def test_no_error_is_logged_and_nobody_is_asked_to_run_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers.models.auto import modeling_auto
    from transformers.utils import logging

    monkeypatch.delitem(
        modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES, "glip", raising=False
    )
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked to run the directory's code"))
    monkeypatch.setattr(logging.get_logger("transformers"), "propagate", True)

    detector = pipeline(TASK, model=str(folder), device="cpu")

    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert type(detector.model) is GlipForGrounding
    trusted = pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=True)
    assert type(trusted.model) is GlipForGrounding, "our own code is used, not the directory's"


def test_the_image_processor_makes_the_processors_pixels(folder: Path, image: Image.Image) -> None:
    images = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    whole = GlipProcessor.from_pretrained(folder, local_files_only=True)(images=image, text="a star")

    own = images(image, return_tensors="pt")

    assert torch.equal(own["pixel_values"], whole["pixel_values"])
    assert torch.equal(own["pixel_mask"], whole["pixel_mask"])
    with pytest.raises(ValueError, match="only PyTorch's tensors"):
        images(image, return_tensors="np")


def test_a_batch_is_refused_with_what_to_do(image: Image.Image, detector: Any) -> None:
    with pytest.raises(ValueError, match="leave `batch_size` of the pipeline at 1"):
        detector([image, image], candidate_labels=[LABELS[0]], batch_size=2)


def test_an_empty_label_is_refused(image: Image.Image, detector: Any) -> None:
    with pytest.raises(ValueError, match="a label has no word"):
        detector(image, candidate_labels=[""])


def test_a_label_that_is_too_long_is_refused_not_cut(image: Image.Image, detector: Any) -> None:
    limit = detector.model.config.text_positions
    with pytest.raises(ValueError, match=rf"a prompt of {limit + 2} tokens, but .* {limit} positions"):
        detector(image, candidate_labels=["red " * limit])


def test_a_prompt_tuned_model_says_that_it_answers_its_prompt_alone(
    folder: Path, image: Image.Image, tmp_path: Path
) -> None:
    model = GlipForGrounding.from_pretrained(folder)
    processor = GlipProcessor.from_pretrained(folder)
    add_prompt_offset(model, processor, "a red circle. two blue star")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    write_code(tmp_path)

    with pytest.raises(ConfigError, match="was tuned for the prompt"):
        pipeline(TASK, model=str(tmp_path), device="cpu")(image, candidate_labels=list(LABELS))


def run_outside(folder: Path, image: Image.Image, place: Path, *options: str) -> subprocess.CompletedProcess:
    image.save(place / "photo.png")
    return subprocess.run(
        [sys.executable, "-P", "-c", OUTSIDE, str(folder), "photo.png", json.dumps(LABELS), *options],
        capture_output=True, text=True, cwd=place, stdin=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "home"), "PYTHONPATH": ""},
    )  # fmt: skip


@pytest.mark.slow
def test_a_plain_environment_gives_the_same_boxes_with_the_directorys_code(
    folder: Path, image: Image.Image, detector: Any, tmp_path: Path
) -> None:
    answer = run_outside(folder, image, tmp_path, "trust")

    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "not supported" not in answer.stderr and "Do you wish" not in answer.stdout
    found = json.loads(answer.stdout)
    expected = detector(image, candidate_labels=list(LABELS), threshold=THRESHOLD)
    assert len(found) == len(expected) > 2
    for one, other in zip(found, expected, strict=True):
        assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert corners(one["box"]) == pytest.approx(corners(other["box"]), abs=1)


@pytest.mark.slow
def test_a_plain_environment_without_trust_names_the_argument(
    folder: Path, image: Image.Image, tmp_path: Path
) -> None:
    answer = run_outside(folder, image, tmp_path)

    assert answer.returncode != 0 and "trust_remote_code=True" in answer.stderr
