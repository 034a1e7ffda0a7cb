"""Ask a model for an evaluation: detections of the gold's categories, boxes of the gold's phrases.

Detectors answer in their own classes. A labeler of `teacher` gets a detection prompt, "cat. dog. traffic light", as in
the evaluation of GLIP on COCO (Li et al., arXiv 2112.03857, section 4).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.worker.batching import label_in_batches
from schemas.boxes import as_boxes, nms
from schemas.errors import ConfigError, UnfinishedError
from schemas.labeler import AnswerKeeper, Labeler, PreparedSample, find_stored_size, get_needed_size
from schemas.records import Phrase, Pixels, Region, Sample
from student.evaluate.class_prompts import PromptOptions, class_prompts
from student.evaluate.gold.images import EvaluationImage
from student.gold.coco.types import CocoDetection, CocoId, GoldCategory
from teacher.detectors.closed_set import ClosedSetDetector
from teacher.detectors.formats import OwnNames, find_format
from teacher.detectors.settings import DetectorSettings
from teacher.factories import locate_teacher, make_labeler
from teacher.labelers.detector_labeler import make_region
from teacher.registry import TEACHERS, TeacherSettings, recognize_model

MIN_SCORE = 0.01
PROMPT_NMS_IOU = 0.6
UNREADABLE = frozenset({"TEACHER_ANSWER"})
"""Codes of questions that count as no box."""
UNREADABLE_REMOTE = UNREADABLE | {"TEACHER_ERROR"}
"""The same for a teacher behind an endpoint, which may refuse a single request."""
MAX_UNREAD = 0.5
"""Share of the questions without a usable answer above which an evaluation fails."""
AUTHORS_ROWS = 16
"""Rows of a batch that is padded as the GLIP authors do: to its largest image, so that numbers depend on the rows."""

BatchSize = int | Literal["auto"]
"""Rows of each batch; auto: as many as suit the teacher and the device."""

_Item = TypeVar("_Item")


class DetectorPredictor:
    """COCO results of a closed-set detector. Its classes are matched to the gold's categories by name."""

    def __init__(
        self,
        model: Path | TeacherSettings,
        categories: Sequence[GoldCategory],
        names: Path | None = None,
        batch_size: BatchSize = 1,
    ) -> None:
        """Load the model, given by its path or with the settings of its teacher.

        names:  a file with the names of the model's classes
        raises: ConfigError as `detector_names`
        """
        from student.evaluate.detector_names import class_list, match_classes
        from teacher.detectors.directory.config import NO_NAME

        path = locate_teacher(model) if isinstance(model, TeacherSettings) else model
        settings = model if isinstance(model, DetectorSettings) else DetectorSettings(model=str(path))
        classes = class_list(path, names, settings.classes)
        given = tuple(name or NO_NAME for name in classes.names)
        settings = settings.model_copy(update={"model": str(path), "classes": given})
        detector = find_format(str(path)).load(settings)
        rows = (
            TEACHERS.load(settings.kind).choose_batch_size(settings) if batch_size == "auto" else batch_size
        )
        self._labeler = _AllClasses(detector, rows, settings.reduce_jpegs)
        self.needed_size = get_needed_size(self._labeler)
        self.matched = match_classes(path, OwnNames(detector.class_names, classes.source), categories)

    def results(self, images: Iterable[EvaluationImage]) -> Iterator[CocoDetection]:
        """Yield detections with score >= MIN_SCORE, best first for each image, in the gold's pixels."""
        waiting: dict[int, EvaluationImage] = {}

        def prepare() -> Iterator[tuple[int, PreparedSample]]:
            for number, image in enumerate(images):
                waiting[number] = image
                yield number, self._labeler.prepare(make_sample(image, "", ()), image.rgb_u8)

        for answer in label_in_batches(self._labeler, prepare()):
            if answer.rejected is not None:
                raise answer.rejected
            image = waiting.pop(answer.position)
            for region in answer.regions:
                category = self.matched.categories[region.phrase]
                if category is not None:
                    yield make_detection(image, category, box_of(region), region.score)


class _AllClasses:
    """A labeler that gives every box of a detector. `Region.phrase` is the class."""

    digest = ""

    def __init__(self, detector: ClosedSetDetector, batch_size: int, reduces_jpegs: bool) -> None:
        self._detector = detector
        self.batch_size = batch_size
        self.needed_size = detector.find_needed_size if reduces_jpegs else None
        self.score_kind = detector.score_kind

    def prepare(self, sample: Sample, image_rgb_u8: NDArray[np.uint8]) -> PreparedSample:
        stored = find_stored_size(sample, image_rgb_u8, self.needed_size)
        image = self._detector.prepare_image(image_rgb_u8, stored)
        return PreparedSample(bucket=image.bucket, inputs=image)

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        found = self._detector.detect_batch([None if row is None else row.inputs for row in batch], MIN_SCORE)
        return [
            [make_region(detections, n, int(label)) for n, label in enumerate(detections.classes_N)]
            for detections in found
        ]


class PromptPredictor:
    """COCO results and phrase boxes of any labeler that takes phrases.

    `unasked` counts the texts of phrases that do not fit into any prompt. They count as not found, and the report
    lists them. `unread` counts questions without a usable answer, by reason: the text cannot be read, or an endpoint
    refuses the request. They count as no box.
    """

    def __init__(
        self,
        model: Path | TeacherSettings,
        batch_size: BatchSize,
        options: PromptOptions | None = None,
        per_image: int = 100,
    ) -> None:
        """Load the model, given by its path or with the settings of its teacher.

        per_image: boxes of an image (or chunk) if `options` gives no number
        raises:    ConfigError for a padding that the teacher has no setting for
        """
        self._options = options or PromptOptions()
        self._limit = self._options.max_detections or per_image
        settings = model if isinstance(model, TeacherSettings) else recognize_settings(model)
        teacher, path = TEACHERS.load(settings.kind), locate_teacher(settings)
        values = settings.model_dump(mode="json")
        if self._options.pad != PromptOptions().pad:
            if "pad" not in teacher.settings_class.model_fields:
                raise ConfigError(
                    f"--pad {self._options.pad}: {path} belongs to the teacher {settings.kind!r}, which has no setting "
                    "`pad`; leave --pad out, or use it with a GLIP directory"
                )
            values["pad"] = self._options.pad
            batch_size = AUTHORS_ROWS if batch_size == "auto" else batch_size
        self._labeler: Labeler = make_labeler(values, batch_size, MIN_SCORE)
        self._unreadable = UNREADABLE_REMOTE if isinstance(self._labeler, AnswerKeeper) else UNREADABLE
        self.name = str(path if isinstance(model, TeacherSettings) else model)
        self.needed_size = get_needed_size(self._labeler)
        self._fits = teacher.prompt_budget(path).fits
        # A prompt-tuned model answers its one detection prompt, and no phrases of captions.
        self.takes_phrases = teacher.tuned_prompt(path) is None
        self.unasked: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()

    def results(
        self, images: Iterable[EvaluationImage], categories: Sequence[GoldCategory]
    ) -> Iterator[CocoDetection]:
        """Yield detections of all categories, suppressed per category, the best of each image (or chunk)."""
        prompts = class_prompts(categories, self._options, self._fits)
        limit = self._limit
        chunks_by_image: defaultdict[CocoId, list[list[CocoDetection]]] = defaultdict(list)
        questions = ((image, prompt.caption, prompt.phrases) for image in images for prompt in prompts)
        for image, question, regions in self._answer(questions):
            prompt = prompts[question % len(prompts)]
            distinct = [
                region
                for phrase in range(len(prompt.phrases))
                for region in suppress_overlaps(regions, phrase)
            ]
            chunks = chunks_by_image[image.record["id"]]
            chunks.append(
                [
                    make_detection(image, prompt.categories[one.phrase]["id"], box_of(one), one.score)
                    for one in _best(distinct, limit, lambda region: region.score)
                ]
            )
            if len(chunks) == len(prompts):
                rows = [row for chunk in chunks_by_image.pop(image.record["id"]) for row in chunk]
                yield from rows if self._options.per_chunk else _best(rows, limit, lambda row: row["score"])

    def ground_phrases(
        self,
        images: Iterable[EvaluationImage],
        captions: Mapping[CocoId, str],
        phrases: Mapping[CocoId, Sequence[Phrase]],
    ) -> Iterator[tuple[EvaluationImage, list[Region]]]:
        """Yield the regions of given phrases (by image id) in pixels of the stored image. Skip images without any."""
        questions = (
            (image, captions[image.record["id"]], phrases[image.record["id"]])
            for image in images
            if phrases.get(image.record["id"])
        )
        for image, _, regions in self._answer(questions):
            yield image, regions

    def _answer(
        self, questions: Iterable[tuple[EvaluationImage, str, Sequence[Phrase]]]
    ) -> Iterator[tuple[EvaluationImage, int, list[Region]]]:
        """Yield image, number of the question and regions, in the order in which batches become full.

        raises: UnfinishedError after the last one if too many have no usable answer
        """
        waiting: dict[int, EvaluationImage] = {}

        def prepare() -> Iterator[tuple[int, PreparedSample]]:
            for number, (image, caption, phrases) in enumerate(questions):
                waiting[number] = image
                sample = self._labeler.prepare(make_sample(image, caption, phrases), image.rgb_u8)
                self.unasked.update(phrases[place].text for place, _ in sample.dropped)
                yield number, sample

        asked = 0
        unread: Counter[str] = Counter()
        for answer in label_in_batches(self._labeler, prepare()):
            asked += 1
            if answer.rejected is not None:
                if answer.rejected.code not in self._unreadable:
                    raise answer.rejected
                unread[answer.rejected.detail] += 1
            yield waiting.pop(answer.position), answer.position, list(answer.regions)
        self.unread += unread
        if unread.total() > MAX_UNREAD * asked:
            raise UnfinishedError(
                f"{unread.total()} of {asked} questions to {self.name} have no usable answer, e.g.: "
                f"{unread.most_common(1)[0][0]}. Expected at most {MAX_UNREAD:.0%}, so nothing is reported; correct "
                "the settings of the teacher, or its endpoint, and evaluate again"
            )


def recognize_settings(model: Path) -> TeacherSettings:
    """Return the default settings of the teacher that a model belongs to. Raises as `recognize_model`."""
    kind, teacher = recognize_model(model)
    return teacher.settings_class.model_validate({"kind": kind, "model": str(model)})


def _best(items: list[_Item], limit: int, score_of: Callable[[_Item], float]) -> list[_Item]:
    """Return the items with the highest scores, best first."""
    return sorted(items, key=lambda item: -score_of(item))[:limit]


def make_sample(image: EvaluationImage, caption: str, phrases: Sequence[Phrase]) -> Sample:
    """Return the image as a sample for a labeler."""
    height, width = image.stored_size
    name = image.name
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


def suppress_overlaps(
    regions: Sequence[Region], phrase: int, iou_above: float = PROMPT_NMS_IOU
) -> list[Region]:
    """Return the regions of one phrase after suppression, best first."""
    own = [region for region in regions if region.phrase == phrase]
    boxes = as_boxes([box_of(region) for region in own])
    return [own[i] for i in nms(boxes, np.array([region.score for region in own]), iou_above)]


def box_of(region: Region) -> list[float]:
    """Return [x0, y0, x1, y1]."""
    return [region.x0, region.y0, region.x1, region.y1]


def make_detection(
    image: EvaluationImage, category: CocoId, box: Sequence[float] | NDArray[np.floating[Any]], score: float
) -> CocoDetection:
    """Return a COCO detection in the gold's pixels from a box in the stored image's pixels."""
    x, y = image.scale
    x0, y0, x1, y1 = (float(side) for side in box)
    return {
        "image_id": image.record["id"],
        "category_id": category,
        "bbox": [x0 * x, y0 * y, (x1 - x0) * x, (y1 - y0) * y],
        "score": score,
    }
