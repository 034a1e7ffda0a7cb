"""What is asked of a model in an evaluation: detections of the gold's categories, boxes of the gold's phrases.

Detectors answer in their own classes; a labeler of `teacher` is asked by a detection prompt, "cat. dog. traffic
light", as GLIP is evaluated on COCO (Li et al., arXiv 2112.03857, section 4).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.work.asking import ask
from schemas.boxes import as_boxes, nms
from schemas.errors import ConfigError, NotFound
from schemas.labeler import Labeler, Prepared
from schemas.records import Phrase, Pixels, Region, Sample
from student.evaluate.images import EvaluationImage
from teacher.build import labeler as build_labeler

MIN_SCORE = 0.01
MAX_DETECTIONS = 100
PROMPT_NMS_IOU = 0.6
SEPARATOR = ". "

Result = dict[str, Any]
Answer = tuple[EvaluationImage, list[Region]]


def model_settings(model: Path) -> dict[str, Any]:
    """Teacher settings for a model path. Raises NotFound and ConfigError for what is no model."""
    if model.suffix == ".onnx":
        return {"kind": "detector", "model": str(model)}
    if (model / "config.json").is_file():
        return {"kind": "glip", "model": str(model)}
    problem = NotFound if not model.exists() else ConfigError
    raise problem(
        f"{model}: expected a GLIP directory (with config.json), a detector .onnx or COCO results .json"
    )


class DetectorPredictor:
    """COCO results of a closed-set detector: its classes are matched to the gold's categories by name."""

    def __init__(self, model: Path, categories: Sequence[Mapping[str, Any]]) -> None:
        from teacher.detectors.coco_classes import COCO_CLASSES
        from teacher.detectors.yolox import Yolox

        self._detector = Yolox(model, COCO_CLASSES)
        names = {category["name"]: category["id"] for category in categories}
        self._category = [names.get(name) for name in COCO_CLASSES]
        if all(category is None for category in self._category):
            raise ConfigError(
                f"{model}: none of its classes is a category of the gold ({sorted(names)[:5]}, ...)"
            )

    def results(self, image: EvaluationImage) -> Iterator[Result]:
        """Detections with score >= MIN_SCORE after class-wise suppression, in the gold's pixels."""
        found = self._detector.detect(self._detector.letterbox(image.rgb_u8), MIN_SCORE)
        for box, score, label in zip(found.boxes_N4, found.scores_N, found.classes_N, strict=True):
            category = self._category[label]
            if category is not None:
                yield coco_result(image, category, box, float(score))


class PromptPredictor:
    """COCO results and phrase boxes of any labeler that takes phrases.

    `unasked` holds the texts of phrases that no prompt could hold: they count as not found, and the report says so.
    """

    def __init__(self, model: Path, batch_size: int) -> None:
        self._labeler: Labeler = build_labeler(model_settings(model), batch_size, MIN_SCORE)
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        # A prompt-tuned model knows its one detection prompt and can be asked no phrases of captions.
        self.takes_phrases = config.get("tuned_prompt") is None
        self.unasked: Counter[str] = Counter()

    def results(
        self, images: Iterable[EvaluationImage], categories: Sequence[Mapping[str, Any]]
    ) -> Iterator[Result]:
        """Detections of a prompt of all category names, suppressed per category, the best 100 of each image."""
        caption, phrases = detection_prompt([category["name"] for category in categories])
        for image, regions in self._answers(images, lambda image: (caption, phrases)):
            kept = [region for phrase in range(len(phrases)) for region in suppressed(regions, phrase)]
            for region in sorted(kept, key=lambda region: -region.score)[:MAX_DETECTIONS]:
                yield coco_result(image, categories[region.phrase]["id"], box_of(region), region.score)

    def grounded(
        self,
        images: Iterable[EvaluationImage],
        captions: Mapping[Any, str],
        phrases: Mapping[Any, Sequence[Phrase]],
    ) -> Iterator[Answer]:
        """Regions of given phrases (by image id) in the stored image's pixels; images without any are left out."""
        asked = (image for image in images if phrases.get(image.record["id"]))
        yield from self._answers(
            asked, lambda image: (captions[image.record["id"]], phrases[image.record["id"]])
        )

    def _answers(
        self,
        images: Iterable[EvaluationImage],
        question: Callable[[EvaluationImage], tuple[str, Sequence[Phrase]]],
    ) -> Iterator[Answer]:
        waiting: dict[int, EvaluationImage] = {}

        def prepared() -> Iterator[tuple[int, Prepared]]:
            for number, image in enumerate(images):
                waiting[number] = image
                caption, phrases = question(image)
                asked = self._labeler.prepare(sample_of(image, caption, phrases), image.rgb_u8)
                self.unasked.update(phrases[place].text for place, _ in asked.dropped)
                yield number, asked

        for answer in ask(self._labeler, prepared()):
            if answer.rejected is not None:
                raise answer.rejected
            yield waiting.pop(answer.position), list(answer.regions)


def detection_prompt(names: Sequence[str]) -> tuple[str, list[Phrase]]:
    """`cat. dog` and the span of each name."""
    phrases, begin = [], 0
    for name in names:
        phrases.append(Phrase(begin=begin, end=begin + len(name), text=name, root=name, kind="given"))
        begin += len(name) + len(SEPARATOR)
    return SEPARATOR.join(names), phrases


def sample_of(image: EvaluationImage, caption: str, phrases: Sequence[Phrase]) -> Sample:
    """The image as a labeler wants it."""
    height, width = image.rgb_u8.shape[:2]
    name = str(image.record["file_name"])
    return Sample(
        unit="evaluation",
        shard="evaluation",
        index=0,
        key=name,
        pixels=Pixels(url=name),
        image_sha256="",
        caption=caption,
        width=width,
        height=height,
        phrases=tuple(phrases),
    )


def suppressed(regions: Sequence[Region], phrase: int, iou_above: float = PROMPT_NMS_IOU) -> list[Region]:
    """The regions of one phrase after suppression, best first."""
    own = [region for region in regions if region.phrase == phrase]
    boxes = as_boxes([box_of(region) for region in own])
    return [own[i] for i in nms(boxes, np.array([region.score for region in own]), iou_above)]


def box_of(region: Region) -> list[float]:
    """x0, y0, x1, y1."""
    return [region.x0, region.y0, region.x1, region.y1]


def coco_result(image: EvaluationImage, category: int, box: Sequence[float], score: float) -> Result:
    """A COCO detection in the gold's pixels from a box in the stored image's."""
    x, y = image.scale
    x0, y0, x1, y1 = (float(side) for side in box)
    return {
        "image_id": image.record["id"],
        "category_id": category,
        "bbox": [x0 * x, y0 * y, (x1 - x0) * x, (y1 - y0) * y],
        "score": score,
    }
