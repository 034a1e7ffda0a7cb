"""What is asked of a model in an evaluation: detections of the gold's categories, boxes of the gold's phrases.

Detectors answer in their own classes; a labeler of `teacher` is asked by a detection prompt, "cat. dog. traffic
light", as GLIP is evaluated on COCO (Li et al., arXiv 2112.03857, section 4).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.worker.batching import ask
from schemas.boxes import as_boxes, nms
from schemas.labeler import Labeler, PreparedSample
from schemas.records import Phrase, Pixels, Region, Sample
from student.evaluate.class_prompts import Asking, class_prompts
from student.evaluate.gold.images import EvaluationImage
from teacher.build import labeler as build_labeler
from teacher.registry import recognize_model

MIN_SCORE = 0.01
PROMPT_NMS_IOU = 0.6

Result = dict[str, Any]
Answer = tuple[EvaluationImage, list[Region]]


class DetectorPredictor:
    """COCO results of a closed-set detector: its classes are matched to the gold's categories by name."""

    def __init__(
        self, model: Path, categories: Sequence[Mapping[str, Any]], names: Path | None = None
    ) -> None:
        """names: a file with the names of the model's classes. Raises ConfigError as `detector_names` says."""
        from student.evaluate.detector_names import class_list, match_classes
        from teacher.detectors.yolox import Yolox, read_model_facts

        classes = class_list(model, read_model_facts(model), names)
        self._detector = Yolox(model, classes.names)
        self.named = match_classes(model, classes, categories)

    def results(self, image: EvaluationImage) -> Iterator[Result]:
        """Detections with score >= MIN_SCORE after class-wise suppression, in the gold's pixels."""
        found = self._detector.detect(self._detector.letterbox(image.rgb_u8), MIN_SCORE)
        for box, score, label in zip(found.boxes_N4, found.scores_N, found.classes_N, strict=True):
            category = self.named.categories[label]
            if category is not None:
                yield coco_result(image, category, box, float(score))


class PromptPredictor:
    """COCO results and phrase boxes of any labeler that takes phrases.

    `unasked` holds the texts of phrases that no prompt could hold: they count as not found, and the report says so.
    """

    def __init__(
        self, model: Path, batch_size: int, asking: Asking | None = None, per_image: int = 100
    ) -> None:
        """per_image: boxes of an image (or chunk) where `asking` names no number."""
        self._asking = asking or Asking()
        self._limit = self._asking.max_detections or per_image
        kind, teacher = recognize_model(model)
        settings = {"kind": kind, "model": str(model)}
        if self._asking.pad != Asking().pad:
            settings["pad"] = self._asking.pad
        self._labeler: Labeler = build_labeler(settings, batch_size, MIN_SCORE)
        self._fits = teacher.prompt_budget(model).fits
        # A prompt-tuned model knows its one detection prompt and can be asked no phrases of captions.
        self.takes_phrases = teacher.tuned_prompt(model) is None
        self.unasked: Counter[str] = Counter()

    def results(
        self, images: Iterable[EvaluationImage], categories: Sequence[Mapping[str, Any]]
    ) -> Iterator[Result]:
        """Detections of prompts of all categories, suppressed per category, the best of each image (or chunk)."""
        prompts = class_prompts(categories, self._asking, self._fits)
        limit, found = self._limit, defaultdict[Any, list[list[Result]]](list)
        asked = ((image, prompt.caption, prompt.phrases) for image in images for prompt in prompts)
        for image, question, regions in self._answers(asked):
            prompt = prompts[question % len(prompts)]
            kept = [region for phrase in range(len(prompt.phrases)) for region in suppressed(regions, phrase)]
            chunks = found[image.record["id"]]
            chunks.append(
                [
                    coco_result(image, prompt.categories[one.phrase]["id"], box_of(one), one.score)
                    for one in _best(kept, limit)
                ]
            )
            if len(chunks) == len(prompts):
                rows = [row for chunk in found.pop(image.record["id"]) for row in chunk]
                yield from rows if self._asking.per_chunk else _best(rows, limit)

    def grounded(
        self,
        images: Iterable[EvaluationImage],
        captions: Mapping[Any, str],
        phrases: Mapping[Any, Sequence[Phrase]],
    ) -> Iterator[Answer]:
        """Regions of given phrases (by image id) in the stored image's pixels; images without any are left out."""
        asked = (
            (image, captions[image.record["id"]], phrases[image.record["id"]])
            for image in images
            if phrases.get(image.record["id"])
        )
        for image, _, regions in self._answers(asked):
            yield image, regions

    def _answers(
        self, questions: Iterable[tuple[EvaluationImage, str, Sequence[Phrase]]]
    ) -> Iterator[tuple[EvaluationImage, int, list[Region]]]:
        """Image, number of the question and regions, in the order in which batches fill."""
        waiting: dict[int, EvaluationImage] = {}

        def prepared() -> Iterator[tuple[int, PreparedSample]]:
            for number, (image, caption, phrases) in enumerate(questions):
                waiting[number] = image
                asked = self._labeler.prepare(sample_of(image, caption, phrases), image.rgb_u8)
                self.unasked.update(phrases[place].text for place, _ in asked.dropped)
                yield number, asked

        for answer in ask(self._labeler, prepared()):
            if answer.rejected is not None:
                raise answer.rejected
            yield waiting.pop(answer.position), answer.position, list(answer.regions)


def _best(items: list[Any], limit: int) -> list[Any]:
    """The best by score, regions or results."""
    return sorted(items, key=lambda item: -(item["score"] if isinstance(item, dict) else item.score))[:limit]


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
