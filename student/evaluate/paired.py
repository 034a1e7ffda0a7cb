"""Compare two models on the same images: the difference of their numbers, with an interval over the images.

Both models are weighted by the same draws of the images, so effects of the images that they share cancel.
"""

# B draws, K categories, N the twelve names
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from student.evaluate.bootstrap import (
    Floats,
    draw_weights,
    group_columns,
    percentile_interval,
    weigh_numbers,
)
from student.evaluate.matching import NAMES, check_ids, match_detections, mean_of_defined
from student.evaluate.protocols import PROTOCOLS, ProtocolName
from student.gold.coco.types import CocoDetection, CocoId, GoldDataset
from student.gold.ids import NumberedGold


def compare_results(
    gold: GoldDataset,
    results: Sequence[CocoDetection],
    baseline: Sequence[CocoDetection],
    *,
    groups: Mapping[str, Sequence[CocoId]],
    names: Sequence[str] = NAMES,
    protocol: ProtocolName = "coco",
    draws: int = 200,
    seed: int = 0,
    share: float = 0.95,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{group: {name: {"value", "low", "high"}}}` of results minus baseline; the group "" is all categories.

    Names that one of the two cannot measure (-1) are left out.

    results:  detections of the same images as `baseline`
    groups:   category ids by name
    names:    numbers that are needed; fewer areas take less time
    protocol: AR100 is the recall at this protocol's limit
    """
    for rows in (results, baseline):
        check_ids(gold, rows)
    numbered = NumberedGold(gold)
    evaluations = [
        match_detections(numbered.gold, numbered.translate_detections(rows), PROTOCOLS[protocol])
        for rows in (results, baseline)
    ]
    images = len(evaluations[0].params.img_ids)
    weights_BI = np.concatenate([np.ones((1, images)), draw_weights(images, draws, seed)])
    ours_BKN, theirs_BKN = (weigh_numbers(evaluation, weights_BI, names) for evaluation in evaluations)
    return {
        group: {
            name: difference
            for n, name in enumerate(NAMES)
            if name in names
            if (difference := _difference(ours_BKN[:, chosen, n], theirs_BKN[:, chosen, n], share))
            is not None
        }
        for group, chosen in group_columns(evaluations[0], numbered.translate_groups(groups)).items()
    }


def _difference(ours_BK: Floats, theirs_BK: Floats, share: float) -> dict[str, float] | None:
    """Return the difference with its interval. The first row is the images as they are, the others are draws."""
    pairs = np.array(
        [[mean_of_defined(ours), mean_of_defined(theirs)] for ours, theirs in zip(ours_BK, theirs_BK)]
    )
    whole, drawn = pairs[0], pairs[1:]
    if (whole < 0).any():
        return None
    differences = (drawn[:, 0] - drawn[:, 1])[(drawn >= 0).all(axis=1)]
    low, high = percentile_interval(differences + 1, share)  # shifted: values below -1 mean undefined there
    return {"value": float(whole[0] - whole[1]), "low": low - 1, "high": high - 1}
