"""Cap the kept regions of a phrase."""

from __future__ import annotations

from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import (
    Bound,
    Decisions_R,
    EvidenceLimit,
    RegionRule,
    SoftenedBy,
    drop_all_but_best,
)
from schemas.settings import CompatibleSettings


class RegionCapFields(CompatibleSettings):
    """Settings of the rule."""

    max_regions_per_phrase: int | None = Field(
        None, ge=1, description="maximum number of regions kept per phrase, by score; null: no limit"
    )


def cap_regions(batch: RegionBatch, policy: RegionCapFields) -> Decisions_R:
    """Drop all but the best regions of each phrase."""
    return drop_all_but_best(batch, policy.max_regions_per_phrase)


ENTRY = RegionRule(
    "over_cap",
    "beyond max_regions_per_phrase",
    RegionCapFields,
    90,
    (EvidenceLimit("max_regions_per_phrase", Bound.AT_MOST, "max_regions_per_phrase"),),
    apply=cap_regions,
    softened_by=SoftenedBy.FLOOR_AND_SCORE,
    score_fields=("max_regions_per_phrase",),
)
