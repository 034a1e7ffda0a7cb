"""Give each singular phrase at most one box, all boxes in different places."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Decisions_R, RegionRule, SoftenedBy, drop
from schemas.settings import CompatibleSettings


class OneToOneFields(CompatibleSettings):
    """Settings of the rule."""

    one_to_one: bool = Field(
        False,
        description="singular phrases get at most one box each, all in different places, chosen by the greatest total "
        "score; plural, numbered and mass phrases are exempt",
    )
    same_place_iou: float = Field(
        0.6, gt=0, le=1, description="for one_to_one: boxes that overlap by this IoU or more are one place"
    )


def assign_boxes(batch: RegionBatch, policy: OneToOneFields) -> Decisions_R:
    """Drop the regions of singular phrases that the choice of greatest total score leaves out.

    Regions of other phrases stay and occupy no place.
    """
    flags_R = np.zeros(len(batch), dtype=bool)
    if not policy.one_to_one:
        return drop(flags_R)
    from pipelines.compile.assignment import assign_one_to_one  # imports scipy.optimize

    numbers = _numbers(batch)
    flags_R[:] = [numbers[phrase] == "singular" for phrase in batch.phrase_R.tolist()]
    for _, regions in batch.iter_rows():
        single = regions.start + np.flatnonzero(flags_R[regions])
        chosen = assign_one_to_one(
            batch.phrase_R[single], batch.boxes_R4[single], batch.scores_R[single], policy.same_place_iou
        )
        flags_R[single[chosen]] = False
    return drop(flags_R)


def count_numbers(batch: RegionBatch, policy: OneToOneFields) -> Counter[str]:
    """Count the phrases with a candidate by grammatical number."""
    return Counter(_numbers(batch).values() if policy.one_to_one else ())


def _numbers(batch: RegionBatch) -> dict[int, str]:
    """Return the grammatical number of each phrase that has a region, by the phrase's index."""
    from teacher.phrases.judge.number import phrase_number  # imports the bundled word lists

    phrases_P = batch.phrases_P
    return {
        i: phrase_number(phrases_P[i]["text"], phrases_P[i]["root"])
        for i in np.unique(batch.phrase_R).tolist()
    }


ENTRY = RegionRule(
    "lost_assignment",
    "not in the one-to-one choice of greatest total score",
    OneToOneFields,
    70,
    apply=assign_boxes,
    count=count_numbers,
    softened_by=SoftenedBy.FLOOR_AND_SCORE,
    score_fields=("one_to_one",),
)
