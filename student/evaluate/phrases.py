"""Recall of phrase grounding: is one of a phrase's k best boxes on one of its gold boxes?

The "any box" protocol counts a hit on any gold box of the phrase. "merged" needs a hit on their common hull. Both are
in use for Flickr30k Entities (Kamath et al., MDETR, arXiv 2104.12763, section 4.2).
"""

# P phrases, K values of k, B draws
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.boxes import as_boxes, iou
from student.evaluate.bootstrap import Floats, draw_weights, percentile_interval
from student.gold.coco.types import CocoId


@dataclass(frozen=True)
class GroundedPhrase:
    """A phrase with gold boxes [m, 4] and predicted boxes [n, 4], xyxy in one frame, scores [n] in any order."""

    image: CocoId
    gold_boxes: Floats
    boxes: Floats
    scores: Floats
    categories: frozenset[CocoId] = frozenset()  # of its gold boxes


def phrase_recall(
    phrases: Iterable[GroundedPhrase],
    ks: Sequence[int] = (1, 5, 10),
    iou_at_least: float = 0.5,
    *,
    merged: bool = False,
    bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Return `{"1": recall, ...}` as fractions over all phrases with gold; -1 if there are none.

    bootstrap: draws of the images; adds `ci: {"1": [low, high], ...}`
    """
    with_gold = [phrase for phrase in phrases if len(phrase.gold_boxes)]
    hits_PK = np.array(
        [[_is_hit(phrase, k, iou_at_least, merged) for k in ks] for phrase in with_gold], dtype=float
    )
    hits_PK = hits_PK.reshape(len(with_gold), len(ks))
    recall: dict[str, Any] = {
        str(k): float(hits_PK[:, i].mean()) if with_gold else -1.0 for i, k in enumerate(ks)
    }
    if bootstrap:
        recall["ci"] = _intervals([phrase.image for phrase in with_gold], hits_PK, ks, bootstrap, seed)
    return recall


def recall_by_group(
    phrases: Sequence[GroundedPhrase], groups: Mapping[str, Iterable[CocoId]]
) -> dict[str, dict[str, float]]:
    """Return by group the `phrase_recall` of the phrases with a gold box of the group's categories."""
    return {
        name: phrase_recall(phrase for phrase in phrases if phrase.categories & set(members))
        for name, members in groups.items()
    }


def _is_hit(phrase: GroundedPhrase, k: int, iou_at_least: float, merged: bool) -> bool:
    best = np.argsort(-np.asarray(phrase.scores, dtype=float), kind="stable")[:k]
    gold = as_boxes(phrase.gold_boxes)
    if merged:
        gold = np.concatenate([gold[:, :2].min(axis=0), gold[:, 2:].max(axis=0)])[None]
    return bool((iou(as_boxes(phrase.boxes)[best], gold) >= iou_at_least).any())


def _intervals(
    images: Sequence[CocoId], hits_PK: NDArray[np.float64], ks: Sequence[int], draws: int, seed: int
) -> dict[str, list[float]]:
    index = {image: i for i, image in enumerate(dict.fromkeys(images))}
    image_P = np.array([index[image] for image in images], dtype=int)
    weights_BP = draw_weights(len(index), draws, seed)[:, image_P]
    totals_B = weights_BP.sum(axis=1)
    shares_BK = np.divide(
        weights_BP @ hits_PK,
        totals_B[:, None],
        out=np.full((draws, len(ks)), -1.0),
        where=totals_B[:, None] > 0,
    )
    return {str(k): percentile_interval(shares_BK[:, i]) for i, k in enumerate(ks)}
