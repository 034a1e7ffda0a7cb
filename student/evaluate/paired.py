"""Two models on the same images: the difference of their numbers, with an interval over the images.

Both models are weighted by the same draws of the images, so what the images have in common cancels.
"""

# B draws, K categories, N the twelve names
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from student.evaluate.bootstrap import image_draws, percentile_interval, weighted_numbers
from student.evaluate.gold.ids import Numbered
from student.evaluate.matching import NAMES, check_ids, matched, mean_of_defined
from student.evaluate.protocols import PROTOCOLS, ProtocolName

WHOLE = ""


def paired_differences(
    gold: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    baseline: Sequence[Mapping[str, Any]],
    *,
    groups: Mapping[str, Sequence[int]],
    names: Sequence[str] = NAMES,
    protocol: ProtocolName = "coco",
    draws: int = 200,
    seed: int = 0,
    share: float = 0.95,
) -> dict[str, dict[str, dict[str, float]]]:
    """`{group: {name: {"value", "low", "high"}}}` of results minus baseline; the group "" is all categories.

    gold:              COCO JSON; results, baseline: COCO detections of the same images
    groups:            category ids by name
    names:             of the twelve numbers; fewer areas take less time
    protocol:          whose rules; AR100 is then the recall at that protocol's limit
    Names that one of the two cannot measure (-1) are left out.
    """
    for rows in (results, baseline):
        check_ids(gold, rows)
    numbered = Numbered(gold)
    groups = numbered.groups(groups)
    evaluations = [
        matched(numbered.gold, numbered.rows(rows), PROTOCOLS[protocol]) for rows in (results, baseline)
    ]
    ids = list(evaluations[0].params.cat_ids)
    images = len(evaluations[0].params.img_ids)
    weights_BI = np.concatenate([np.ones((1, images)), image_draws(images, draws, seed)])
    ours_BKN, theirs_BKN = (weighted_numbers(evaluation, weights_BI, names) for evaluation in evaluations)
    columns = {
        WHOLE: list(range(len(ids))),
        **{name: [ids.index(i) for i in some] for name, some in groups.items()},
    }
    return {
        group: {
            name: found
            for n, name in enumerate(NAMES)
            if name in names
            if (found := _difference(ours_BKN[:, chosen, n], theirs_BKN[:, chosen, n], share)) is not None
        }
        for group, chosen in columns.items()
    }


def _difference(ours_BK: np.ndarray, theirs_BK: np.ndarray, share: float) -> dict[str, float] | None:
    """The first row is the images as they are; the others are draws."""
    pairs = np.array(
        [[mean_of_defined(ours), mean_of_defined(theirs)] for ours, theirs in zip(ours_BK, theirs_BK)]
    )
    whole, drawn = pairs[0], pairs[1:]
    if (whole < 0).any():
        return None
    differences = (drawn[:, 0] - drawn[:, 1])[(drawn >= 0).all(axis=1)]
    low, high = percentile_interval(differences + 1, share)  # shifted: below -1 means undefined there
    return {"value": float(whole[0] - whole[1]), "low": low - 1, "high": high - 1}
