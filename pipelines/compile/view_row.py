"""The row of a view: the sample, its phrases with their fates, and the regions with what is believed of them."""

# R regions of the evidence row
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.compile.policy import Policy
from pipelines.compile.weights import p_correct, weights
from schemas.boxes import Boxes


def view_row(
    row: dict[str, Any],
    kept: NDArray[np.int64],
    ignored: NDArray[np.int64],
    boxes_R4: Boxes,
    scores_R: NDArray[np.float64],
    policy: Policy,
) -> dict[str, Any]:
    """The view's row of an evidence row.

    kept, ignored: indices of its regions, apart; their order in the row stays the evidence's
    boxes_R4:      where the regions lie in the view (merging may have moved kept ones)
    """
    p_correct_R = None if policy.calibration is None else p_correct(scores_R, policy.calibration)
    weight_R = weights(scores_R, p_correct_R, policy.weight, policy.weight_ramp)
    fate_of = {**dict.fromkeys(ignored.tolist(), "ignore"), **_fates(kept, scores_R, policy)}
    regions = []
    for i in sorted(fate_of):
        x0, y0, x1, y1 = boxes_R4[i].tolist()
        belief = {
            "p_correct": None if p_correct_R is None else float(p_correct_R[i]),
            "q_value": None,
            "weight": 0.0 if fate_of[i] == "ignore" else float(weight_R[i]),
            "fate": fate_of[i],
            "origin": "teacher",
        }
        regions.append({**row["regions"][i], "x0": x0, "y0": y0, "x1": x1, "y1": y1, **belief})
    positive = {region["phrase"] for region in regions if region["fate"] != "ignore"}
    seen = _candidates(row["regions"], policy)
    phrases = [
        {**phrase, "fate": _phrase_fate(phrase, number in positive, number in seen)}
        for number, phrase in enumerate(row["phrases"])
    ]
    return {**row, "phrases": phrases, "regions": regions}


def _fates(kept: NDArray[np.int64], scores_R: NDArray[np.float64], policy: Policy) -> dict[int, str]:
    if policy.class_only_below is None:
        return dict.fromkeys(kept.tolist(), "positive")
    limit = float(np.float32(policy.class_only_below))  # evidence holds float32
    return {int(i): "class_only" if scores_R[i] < limit else "positive" for i in kept}


def _candidates(regions: list[dict[str, Any]], policy: Policy) -> set[int]:
    """The phrases that the teacher found at the lower threshold or above."""
    lowest = np.float32(policy.candidate_score or 0)  # evidence holds float32
    return {region["phrase"] for region in regions if np.float32(region["score"]) >= lowest}


def _phrase_fate(phrase: dict[str, Any], has_box: bool, is_seen: bool) -> str:
    """A phrase without a kept box is unresolved, out of the loss; only a decoy that was not found counts as absent."""
    if has_box:
        return "positive"
    return "absent" if phrase["kind"] == "decoy" and not is_seen else "unresolved"
