"""A closed-vocabulary teacher: a phrase gets the boxes of the class that its head noun names, other phrases none.

The network runs on one image at a time, so batch size and the other images of a batch change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.errors import ConfigError
from schemas.labeler import PreparedSample
from schemas.records import Phrase, Region, Sample
from teacher.detectors.class_metadata import find_first_difference, read_metadata_names
from teacher.detectors.class_names import ClassNames
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.detectors.yolox import Detections, Letterboxed, Yolox, read_model_facts
from teacher.labelers.detector_settings import DetectorSettings, detector_digest

NO_CLASS = "PH_NO_CLASS"
_LONG = ("expression", "given")


@dataclass(frozen=True)
class _DetectorInput:
    """A letterboxed image, and for each phrase the class it names."""

    image: Letterboxed
    classes: tuple[int | None, ...]
    pass_index: int = 0


class DetectorLabeler:
    """`schemas.labeler.Labeler` for a YOLOX detector."""

    score_kind = "detector.class_score*objectness"

    def __init__(
        self, settings: DetectorSettings, batch_size: int, min_score: float, has_long_phrases: bool = False
    ) -> None:
        """Open the model.

        has_long_phrases: whether the job asks for expressions or given spans; changes only the digest
        raises: ConfigError without `classes` for a model whose metadata names other classes than COCO's
        """
        names = settings.classes or COCO_CLASSES
        if not settings.classes:
            _check_coco_names(settings.model)
        self._detector = Yolox(settings.model, names, settings.nms_iou)
        self._names = ClassNames(names)
        self._min_score = min_score
        self.batch_size = batch_size
        self.digest = detector_digest(settings, has_long_phrases)

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Return the letterboxed image and the classes that the phrases name."""
        classes = tuple(self._class_of(phrase) for phrase in sample.phrases)
        side = self._detector.side
        return PreparedSample(
            bucket=(side, side), inputs=_DetectorInput(self._detector.letterbox(image_rgb_u8), classes)
        )

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Prepare for the decoys alone.

        Dropped are decoys that name no class, which could get no box, and decoys that name the class of another
        phrase, which would get its boxes.
        """
        labels = [self._class_of(phrase) for phrase in sample.phrases]
        is_decoy = [phrase.kind == "decoy" for phrase in sample.phrases]
        seen = {label for label, decoy in zip(labels, is_decoy) if not decoy}
        classes = tuple(
            label if decoy and label not in seen else None for label, decoy in zip(labels, is_decoy)
        )
        dropped = tuple((n, NO_CLASS) for n, label in enumerate(classes) if is_decoy[n] and label is None)
        side = self._detector.side
        inputs = _DetectorInput(self._detector.letterbox(image_rgb_u8), classes, pass_index=1)
        return PreparedSample(bucket=(side, side), inputs=inputs, second_pass=True, dropped=dropped)

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return regions per row. The network does not run if no phrase names a class."""
        return [[] if row is None else self._find_regions(row.inputs) for row in batch]

    def _class_of(self, phrase: Phrase) -> int | None:
        """Return the class of a phrase. Base phrases, n-grams and decoys end in their head, others may not."""
        if phrase.kind in _LONG:
            return self._names.find_class(phrase.text, phrase.root)
        return self._names.find_class_of_last_words(phrase.text)

    def _find_regions(self, inputs: _DetectorInput) -> list[Region]:
        if all(label is None for label in inputs.classes):
            return []
        found = self._detector.detect(inputs.image, self._min_score)
        return [
            _make_region(found, int(n), phrase, inputs.pass_index)
            for phrase, label in enumerate(inputs.classes)
            if label is not None
            for n in np.flatnonzero(found.classes_N == label)
        ]


def _check_coco_names(model: str) -> None:
    """Raise ConfigError if the model's metadata names other classes than COCO's."""
    remedy = "set teacher.classes to the names of the model's classes"
    try:
        found = read_metadata_names(read_model_facts(model).metadata, model)
    except ConfigError as error:
        raise ConfigError(f"{error}; {remedy}") from error
    if found is None:
        return
    names, source = found
    other = find_first_difference(names, COCO_CLASSES)
    if other is not None:
        own, coco = (repr(some[other]) if other < len(some) else "missing" for some in (names, COCO_CLASSES))
        raise ConfigError(
            f"detector {model}: class {other} is {own} by {source} and {coco} among COCO's {len(COCO_CLASSES)}, the "
            f"default of teacher.classes; {remedy}"
        )


def _make_region(found: Detections, n: int, phrase: int, pass_index: int) -> Region:
    x0, y0, x1, y1 = found.boxes_N4[n].tolist()
    return Region(
        phrase=phrase,
        x0=x0,
        y0=y0,
        x1=x1,
        y1=y1,
        score=float(found.scores_N[n]),
        class_score=float(found.class_scores_N[n]),
        quality=float(found.objectness_N[n]),
        pass_index=pass_index,
    )
