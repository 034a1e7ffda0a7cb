"""Drop boxes without area."""

from __future__ import annotations

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Decisions_R, NoFields, RegionRule, SoftenedBy, drop


def drop_without_area(batch: RegionBatch, policy: NoFields) -> Decisions_R:
    """Drop every region whose box has no area in float32."""
    return drop(batch.area_R <= 0)


ENTRY = RegionRule(
    "no_area",
    "the box has no area in float32",
    NoFields,
    30,
    apply=drop_without_area,
    softened_by=SoftenedBy.NOTHING,
)
