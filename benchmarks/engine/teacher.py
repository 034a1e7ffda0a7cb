"""The teacher of the benchmark: a fixed amount of CPU work per image, and one region for each phrase.

The work is hashing, which releases the interpreter's lock as a forward pass does, uses one thread and costs the same
each time. Promise: blank rows cost nothing, so that all three contestants do the same work for the same images.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.label.teacher_spec import Factories
from schemas.labeler import FoundPhrases, PreparedSample
from schemas.records import Phrase, Region, Sample

HERE = __name__
FACTORIES = Factories(f"{HERE}:labeler", f"{HERE}:finder", f"{HERE}:labeler_digest", f"{HERE}:finder_digest")
_BLOCK = bytes(2**20)
_SIDE = 256


class Finder:
    """`a|an|the <word>` is a phrase."""

    digest = "sha256:benchmark-finder"

    def find(self, captions: Sequence[str]) -> list[FoundPhrases]:
        """Phrases of each caption."""
        return [
            FoundPhrases(tuple(map(_phrase, re.finditer(r"\b(?:a|an|the) (\w+)", text)))) for text in captions
        ]


class Labeler:
    """Works `megabytes` of hashing per image; boxes are quarters of the image."""

    digest = "sha256:benchmark-labeler"
    score_kind = "benchmark.constant"

    def __init__(self, megabytes: int, batch_size: int) -> None:
        self._megabytes, self.batch_size = megabytes, batch_size

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Return the image in the teacher's size, normalized."""
        return PreparedSample((_SIDE, _SIDE), (sample, network_input(image_rgb_u8)))

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """One region for each phrase of each row."""
        return [self._regions(*row.inputs) if row else [] for row in batch]

    def _regions(self, sample: Sample, pixels: np.ndarray) -> list[Region]:
        work(self._megabytes, pixels)
        width, height = sample.width, sample.height
        return [
            Region(phrase=index, x0=0.0, y0=0.0, x1=width / 2, y1=height / (2 + index), score=0.5)
            for index in range(len(sample.phrases))
        ]


def network_input(image_rgb_u8: np.ndarray) -> np.ndarray:
    """[3, side, side] float32: nearest pixels, zero mean. Stands for what a detector's processor does."""
    rows = np.arange(_SIDE) * image_rgb_u8.shape[0] // _SIDE
    columns = np.arange(_SIDE) * image_rgb_u8.shape[1] // _SIDE
    small = image_rgb_u8[rows][:, columns].astype(np.float32)
    return np.ascontiguousarray((small - 114.0).transpose(2, 0, 1) / 58.0)


def work(megabytes: int, pixels: np.ndarray) -> str:
    """Do a fixed amount of work that depends on the pixels."""
    state = hashlib.sha256(pixels.tobytes())
    for _ in range(megabytes):
        state.update(_BLOCK)
    return state.hexdigest()


def _phrase(match: re.Match[str]) -> Phrase:
    return Phrase(begin=match.start(), end=match.end(), text=match.group(), root=match.group(1))


def labeler(settings: dict[str, Any], batch_size: int, min_score: float) -> Labeler:
    """See Factories; `model` is the number of megabytes."""
    return Labeler(int(settings["model"]), batch_size)


def finder(settings: dict[str, Any]) -> Finder:
    """See Factories."""
    return Finder()


def labeler_digest(settings: dict[str, Any]) -> str:
    """See Factories."""
    return Labeler.digest


def finder_digest(settings: dict[str, Any]) -> str:
    """See Factories."""
    return Finder.digest
