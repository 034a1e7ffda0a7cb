"""A closed-vocabulary teacher: a phrase gets the boxes of the class that its head noun names, other phrases none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.labeler import PreparedSample, find_stored_size
from schemas.records import Phrase, Region, Sample
from teacher.detectors.class_names import ClassNames
from teacher.detectors.closed_set import ClosedSetDetector, Detections, DetectorImage
from teacher.registry import LabelerOptions

NO_CLASS = "PH_NO_CLASS"
_LONG = ("expression", "given")


@dataclass(frozen=True)
class _DetectorInput:
    """A prepared image, and for each phrase the class it names."""

    image: DetectorImage
    classes: tuple[int | None, ...]
    pass_index: int = 0

    @property
    def asks(self) -> bool:
        """Whether a phrase names a class, so that the detector must run."""
        return any(label is not None for label in self.classes)


class DetectorLabeler:
    """`schemas.labeler.DecoyLabeler` for a detector with a fixed list of classes."""

    def __init__(
        self,
        detector: ClosedSetDetector,
        names: ClassNames,
        digest: str,
        options: LabelerOptions,
        reduces_jpegs: bool = False,
    ) -> None:
        """Keep a loaded detector. names: the words that name its classes."""
        self._detector, self._names = detector, names
        self._min_score, self._guesses_heads = options.min_score, options.has_guessed_heads
        self.batch_size = options.batch_size
        self.score_kind = detector.score_kind
        self.digest = digest
        self.needed_size = detector.find_needed_size if reduces_jpegs else None

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Return the resized image and the classes that the phrases name."""
        image = self._prepare_image(sample, image_rgb_u8)
        classes = tuple(self._class_of(phrase) for phrase in sample.phrases)
        return PreparedSample(image.bucket, _DetectorInput(image, classes), filled=image.filled)

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
        image = self._prepare_image(sample, image_rgb_u8)
        inputs = _DetectorInput(image, classes, pass_index=1)
        return PreparedSample(image.bucket, inputs, second_pass=True, dropped=dropped, filled=image.filled)

    def _prepare_image(self, sample: Sample, image_rgb_u8: np.ndarray) -> DetectorImage:
        stored = find_stored_size(sample, image_rgb_u8, self.needed_size)
        return self._detector.prepare_image(image_rgb_u8, stored)

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return regions per row. The detector does not run if no phrase of the batch names a class."""
        rows: list[_DetectorInput | None] = [
            None if row is None or not row.inputs.asks else row.inputs for row in batch
        ]
        if all(row is None for row in rows):
            return [[] for _ in rows]
        found = self._detector.detect_batch(
            [None if row is None else row.image for row in rows], self._min_score
        )
        return [
            [] if row is None else _make_regions(detections, row)
            for row, detections in zip(rows, found, strict=True)
        ]

    def close(self) -> None:
        """Release the accelerator's memory. The labeler cannot be used after that."""
        self._detector.close()

    def _class_of(self, phrase: Phrase) -> int | None:
        """Return the class of a phrase. Base phrases, n-grams and decoys end in their head, others may not.

        Without a parser, the root of a given span is its last noun, so its head is guessed from the words instead.
        """
        if phrase.kind == "given" and self._guesses_heads:
            return self._names.find_class(phrase.text)
        if phrase.kind in _LONG:
            return self._names.find_class(phrase.text, phrase.root)
        return self._names.find_class_of_last_words(phrase.text)


def _make_regions(found: Detections, inputs: _DetectorInput) -> list[Region]:
    return [
        make_region(found, int(n), phrase, inputs.pass_index)
        for phrase, label in enumerate(inputs.classes)
        if label is not None
        for n in np.flatnonzero(found.classes_N == label)
    ]


def make_region(found: Detections, n: int, phrase: int, pass_index: int = 0) -> Region:
    """Return detection `n` as a region of a phrase."""
    x0, y0, x1, y1 = found.boxes_N4[n].tolist()
    return Region(
        phrase=phrase,
        x0=x0,
        y0=y0,
        x1=x1,
        y1=y1,
        score=float(found.scores_N[n]),
        class_score=None if found.class_scores_N is None else float(found.class_scores_N[n]),
        quality=None if found.objectness_N is None else float(found.objectness_N[n]),
        pass_index=pass_index,
    )
