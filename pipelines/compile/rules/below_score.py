"""Drop regions below the score threshold."""

from __future__ import annotations

from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Bound, Decisions_R, EvidenceLimit, RegionRule, SoftenedBy, drop
from schemas.settings import CompatibleSettings


class MinScoreFields(CompatibleSettings):
    """Settings of the rule."""

    min_score: float = Field(0.5, ge=0, le=1, description="regions below this raw score are dropped")


def drop_below_score(batch: RegionBatch, policy: MinScoreFields) -> Decisions_R:
    """Drop every region below `min_score`."""
    return drop(~batch.reach(policy.min_score))


ENTRY = RegionRule(
    "below_score",
    "raw score below min_score",
    MinScoreFields,
    80,
    (EvidenceLimit("min_score", Bound.AT_LEAST, "min_score"),),
    apply=drop_below_score,
    softened_by=SoftenedBy.FLOOR_AND_SCORE,
    score_fields=("min_score",),
)
