"""The rows of a view: the sample, its phrases with their fates, and the regions with probability and weight."""

# R regions of all rows
from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipelines.compile.policy import Policy
from pipelines.compile.region_batch import Floats, RegionBatch
from pipelines.compile.weights import compute_weights, interpolate_p_correct
from schemas.records import PhraseFate, RegionFate
from schemas.rows import EvidenceRow, PhraseRow, RegionRow, ViewRegionRow, ViewRow

DROPPED, IGNORED, KEPT = 0, 1, 2
"""What the rules decided about a region."""


def make_view_rows(
    rows: Sequence[EvidenceRow],
    batch: RegionBatch,
    decided_R: NDArray[np.int8],
    policy: Policy,
) -> list[ViewRow]:
    """Return the view's row of each evidence row. Regions keep the order of the evidence.

    batch:     all regions of the rows, boxes as they are in the view (merging may have moved some)
    decided_R: DROPPED, IGNORED or KEPT
    """
    calibration = policy.calibration
    p_correct_R = None if calibration is None else interpolate_p_correct(batch.scores_R, calibration)
    weight_R = compute_weights(batch.scores_R, p_correct_R, policy.weight, policy.weight_ramp).tolist()
    fate_R = _name_fates(decided_R, batch.scores_R, policy)
    p_R = [None] * len(batch) if p_correct_R is None else p_correct_R.tolist()
    box_R = batch.boxes_R4.tolist()
    offsets = batch.offsets_N1.tolist()
    view_rows = []
    for row, begin, end in zip(rows, offsets, offsets[1:]):
        regions: list[ViewRegionRow] = []
        for i in range(begin, end):
            if (fate := fate_R[i]) is not None:
                x0, y0, x1, y1 = box_R[i]
                region = {
                    **row["regions"][i - begin],
                    **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
                    "p_correct": p_R[i],
                    "q_value": None,
                    "weight": 0.0 if fate == "ignore" else weight_R[i],
                    "fate": fate,
                    "origin": "teacher",
                }
                regions.append(cast(ViewRegionRow, region))
        positive = {kept["phrase"] for kept in regions if kept["fate"] != "ignore"}
        seen = _find_candidates(row["regions"], policy)
        phrases = [
            {**phrase, "fate": _phrase_fate(phrase, number in positive, number in seen)}
            for number, phrase in enumerate(row["phrases"])
        ]
        view_rows.append(cast(ViewRow, {**row, "phrases": phrases, "regions": regions}))
    return view_rows


def _name_fates(decided_R: NDArray[np.int8], scores_R: Floats, policy: Policy) -> list[RegionFate | None]:
    """Return the fate of each region in the view; None if it is dropped."""
    limit = -np.inf if policy.class_only_below is None else policy.class_only_below
    is_class_only_R = scores_R < float(np.float32(limit))  # evidence has float32
    fates: list[RegionFate | None] = []
    for decided, is_class_only in zip(decided_R.tolist(), is_class_only_R.tolist(), strict=True):
        if decided == KEPT:
            fates.append("class_only" if is_class_only else "positive")
        else:
            fates.append("ignore" if decided == IGNORED else None)
    return fates


def _find_candidates(regions: Sequence[RegionRow], policy: Policy) -> set[int]:
    """Return the phrases that the teacher found at the lower threshold or above."""
    lowest = np.float32(policy.candidate_score or 0)  # evidence has float32
    return {region["phrase"] for region in regions if np.float32(region["score"]) >= lowest}


def _phrase_fate(phrase: PhraseRow, has_box: bool, is_seen: bool) -> PhraseFate:
    """Return the fate of a phrase. Without a kept box it is unresolved; only an unseen decoy is absent."""
    if has_box:
        return "positive"
    return "absent" if phrase["kind"] == "decoy" and not is_seen else "unresolved"
