"""Drop regions whose score is too low for a candidate."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Bound, Decisions_R, EvidenceLimit, RegionRule, SoftenedBy, drop
from schemas.settings import CompatibleSettings


class CandidateScoreFields(CompatibleSettings):
    """Settings of the rule."""

    candidate_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="regions below it are not even candidates; null: the evidence's own min_score",
    )


def drop_below_candidate_score(batch: RegionBatch, policy: CandidateScoreFields) -> Decisions_R:
    """Drop every region below `candidate_score`."""
    if policy.candidate_score is None:
        return drop(np.zeros(len(batch), dtype=bool))
    return drop(~batch.reach(policy.candidate_score))


ENTRY = RegionRule(
    "below_candidate_score",
    "raw score below candidate_score",
    CandidateScoreFields,
    40,
    (EvidenceLimit("candidate_score", Bound.AT_LEAST, "min_score"),),
    apply=drop_below_candidate_score,
    softened_by=SoftenedBy.NOTHING,
    score_fields=("candidate_score",),
)
