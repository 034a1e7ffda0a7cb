"""A closed-vocabulary teacher: a phrase is given the boxes of the class its head noun names, every other phrase none.

Promise: one image per run of the network, so batch size and mates change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.errors import ConfigError
from schemas.labeler import Prepared
from schemas.records import Phrase, Region, Sample
from teacher.detectors.class_metadata import find_first_difference, read_metadata_names
from teacher.detectors.class_names import ClassNames
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.detectors.yolox import Detections, Letterboxed, Yolox, read_model_facts
from teacher.labelers.detector_settings import DetectorSettings, detector_digest

NO_CLASS = "PH_NO_CLASS"
_LONG = ("expression", "given")


@dataclass(frozen=True)
class _Asked:
    """A letterboxed image, and for each phrase the class it names."""

    image: Letterboxed
    classes: tuple[int | None, ...]
    pass_index: int = 0


class DetectorLabeler:
    """`schemas.labeler.Labeler` over a YOLOX detector."""

    score_kind = "detector.class_score*objectness"

    def __init__(
        self, settings: DetectorSettings, batch_size: int, min_score: float, has_long_phrases: bool = False
    ) -> None:
        """Open the model.

        has_long_phrases: whether the job asks for expressions or given spans; changes the digest and nothing else
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

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> Prepared:
        """The letterboxed image and the classes that the phrases name."""
        classes = tuple(self._class_of(phrase) for phrase in sample.phrases)
        side = self._detector.side
        return Prepared(bucket=(side, side), inputs=_Asked(self._detector.letterbox(image_rgb_u8), classes))

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> Prepared:
        """As `prepare`, for the decoys alone. Dropped are those that name no class, since they could get no box, and
        those that name the class of another phrase, which would get its boxes."""
        named = [self._class_of(phrase) for phrase in sample.phrases]
        is_decoy = [phrase.kind == "decoy" for phrase in sample.phrases]
        seen = {label for label, decoy in zip(named, is_decoy) if not decoy}
        classes = tuple(
            label if decoy and label not in seen else None for label, decoy in zip(named, is_decoy)
        )
        dropped = tuple((n, NO_CLASS) for n, label in enumerate(classes) if is_decoy[n] and label is None)
        side = self._detector.side
        asked = _Asked(self._detector.letterbox(image_rgb_u8), classes, pass_index=1)
        return Prepared(bucket=(side, side), inputs=asked, second_pass=True, dropped=dropped)

    def label(self, batch: Sequence[Prepared | None]) -> list[list[Region]]:
        """Regions per row; the network is not run where no phrase names a class."""
        return [[] if row is None else self._regions(row.inputs) for row in batch]

    def _class_of(self, phrase: Phrase) -> int | None:
        """Return the class of a phrase: base phrases, n-grams and decoys end in their head, the others need not."""
        if phrase.kind in _LONG:
            return self._names.index_of(phrase.text, phrase.root)
        return self._names.index_of_last_words(phrase.text)

    def _regions(self, asked: _Asked) -> list[Region]:
        if all(label is None for label in asked.classes):
            return []
        found = self._detector.detect(asked.image, self._min_score)
        return [
            _region(found, n, phrase, asked.pass_index)
            for phrase, label in enumerate(asked.classes)
            if label is not None
            for n in np.flatnonzero(found.classes_N == label)
        ]


def _check_coco_names(model: str) -> None:
    """Raise ConfigError for a model that names other classes than COCO's, which would get COCO's names."""
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
        own, coco = (
            repr(some[other]) if other < len(some) else "not there" for some in (names, COCO_CLASSES)
        )
        raise ConfigError(
            f"detector {model}: class {other} is {own} by {source} and {coco} among COCO's {len(COCO_CLASSES)}, which "
            f"are taken without teacher.classes; {remedy}"
        )


def _region(found: Detections, n: int, phrase: int, pass_index: int) -> Region:
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
