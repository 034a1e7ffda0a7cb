"""The interface of a detector with a fixed list of classes: images in, boxes with classes out.

`DetectorLabeler` and `evaluate` use only this. How a model is stored, resized and run is the detector's own matter.
"""

# N boxes
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from schemas.errors import SampleRejectedError

ImageRgb = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""(height, width)"""
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Detections:
    """Boxes of one image, best score first: xyxy half-open pixels of the image, clipped to it. Scores are 0..1.

    class_scores_N and objectness_N are given if the score is their product.
    """

    boxes_N4: Floats
    scores_N: Floats
    classes_N: npt.NDArray[np.integer]
    class_scores_N: Floats | None = None
    objectness_N: Floats | None = None


def check_finite(*arrays: Floats) -> None:
    """Raise SampleRejectedError if a score or a box of an image is not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise SampleRejectedError(
            "TEACHER_NONFINITE", "the model's scores or boxes hold values that are not finite"
        )


@dataclass(frozen=True)
class DetectorImage:
    """An image as a detector wants it. Images of one bucket can share a batch.

    The bucket depends on the image's own size alone.
    """

    pixels: np.ndarray
    width: int
    """Width and height of the stored image."""
    height: int
    bucket: tuple[int, ...]
    filled: float = 1.0
    """Share of the padded pixels that the image fills."""


class ClosedSetDetector(Protocol):
    """A detector. What it finds in an image depends on that image alone, not on the rest of the batch."""

    class_names: tuple[str | None, ...]
    """In the order of the outputs. None: an output that stands for no class."""
    score_kind: str
    """The definition of the raw score, as in `schemas.labeler.Labeler`."""

    def prepare_image(self, image_rgb_u8: ImageRgb, stored_size: Size | None = None) -> DetectorImage:
        """Resize an image, uint8 [height, width, 3].

        stored_size: (height, width) of the whole image, if this one was decoded at a reduced scale
        """
        ...

    def find_needed_size(self, stored_size: Size) -> Size:
        """Return the size that an image is resized to, which is all that `prepare_image` needs of it."""
        ...

    def detect_batch(self, batch: Sequence[DetectorImage | None], min_score: float) -> list[Detections]:
        """Return the boxes with a score >= min_score of each image. The images are of one bucket.

        None is a blank row. Its answer is not read.
        raises: SampleRejectedError for scores that are not finite, OutOfMemoryError
        """
        ...

    def close(self) -> None:
        """Release an accelerator's memory. The detector cannot be used after that."""
        ...
