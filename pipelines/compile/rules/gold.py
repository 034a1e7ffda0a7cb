"""Ignore regions that a human boxed already on the same image."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from pipelines.compile.gold_mask import GoldMask, overlaps_gold
from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Decision, Decisions_R, RegionRule, SoftenedBy
from schemas.settings import CompatibleSettings, LegacyValue


class GoldFields(CompatibleSettings):
    """Settings of the rule."""

    gold: Annotated[GoldMask | None, LegacyValue()] = Field(
        None,
        description="on an image that is also in this gold, its boxes go before the teacher's; null: none",
    )


def ignore_gold(batch: RegionBatch, policy: GoldFields) -> Decisions_R:
    """Ignore every region that overlaps a gold box of its category.

    Dropping it would make the place a negative of its phrase.
    """
    decisions_R = np.full(len(batch), Decision.KEEP, dtype=np.int8)
    if policy.gold is None:
        return decisions_R
    for row, regions in batch.iter_rows():
        if batch.gold_N[row]:
            overlaps = overlaps_gold(
                batch.phrases_P,
                batch.phrase_R[regions],
                batch.boxes_R4[regions],
                batch.gold_N[row],
                policy.gold.iou,
            )
            decisions_R[regions][overlaps] = Decision.IGNORE
    return decisions_R


ENTRY = RegionRule(
    "gold",
    "overlaps a gold box of its category (gold.iou)",
    GoldFields,
    100,
    apply=ignore_gold,
    softened_by=SoftenedBy.NOTHING,
)
