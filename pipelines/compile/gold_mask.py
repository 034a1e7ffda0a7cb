"""Which regions of a teacher a human boxed already: the setting of a policy, and the comparison with gold boxes."""

# R regions, G gold boxes
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.boxes import Boxes, as_boxes, iou
from schemas.rows import PhraseRow
from schemas.settings import Settings

_ARTICLES = frozenset({"a", "an", "the"})


class GoldMask(Settings):
    """Human labels that go before the teacher's on the images that both know (equal `image_sha256`)."""

    urls: tuple[str, ...] = Field(min_length=1, description="folders of imported gold")
    iou: float = Field(
        0.5,
        gt=0,
        le=1,
        description="a region that overlaps a gold box of its category by this IoU or more becomes ignore",
    )


@dataclass(frozen=True)
class GoldBox:
    """A human's box with its category or head noun."""

    root: str
    box_xyxy_px: tuple[float, float, float, float]


def overlaps_gold(
    phrases: Sequence[PhraseRow],
    phrase_R: NDArray[np.int64],
    boxes_R4: Boxes,
    gold: Sequence[GoldBox],
    at_least: float,
) -> NDArray[np.bool_]:
    """Return [R] whether a region overlaps a gold box of its phrase's category by an IoU of `at_least` or more."""
    overlap_RG = iou(boxes_R4, as_boxes([box.box_xyxy_px for box in gold])) >= at_least
    same_category = {
        number: np.array([is_category(box.root, phrases[number]) for box in gold], dtype=bool)
        for number in set(phrase_R.tolist())
    }
    return np.array(
        [(overlap_RG[i] & same_category[number]).any() for i, number in enumerate(phrase_R.tolist())],
        dtype=bool,
    )


def is_category(category: str, phrase: PhraseRow) -> bool:
    """Return whether a phrase names a gold category: its head noun is the category, or its words end in it.

    A category of several words must match completely: "a wooden baseball bat" is of "baseball bat", "a bat" is not.
    """
    root = phrase["root"].lower()
    if category == root:
        return True
    words = [word for word in phrase["text"].lower().split() if word not in _ARTICLES]
    if not words:
        return False
    wanted = category.replace("_", " ").split()
    return wanted in (words[-len(wanted) :], [*words[:-1], root][-len(wanted) :])
