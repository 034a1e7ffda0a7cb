"""Cap the candidates of a phrase."""

from __future__ import annotations

from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Bound, Decisions_R, EvidenceLimit, RegionRule, drop_all_but_best
from schemas.settings import CompatibleSettings


class CandidateCapFields(CompatibleSettings):
    """Settings of the rule."""

    max_candidates_per_phrase: int | None = Field(
        None,
        ge=1,
        description="maximum number of candidates per phrase that later rules see, by score; null: no limit",
    )


def cap_candidates(batch: RegionBatch, policy: CandidateCapFields) -> Decisions_R:
    """Drop all but the best candidates of each phrase."""
    return drop_all_but_best(batch, policy.max_candidates_per_phrase)


ENTRY = RegionRule(
    "over_candidates",
    "beyond max_candidates_per_phrase",
    CandidateCapFields,
    60,
    (EvidenceLimit("max_candidates_per_phrase", Bound.AT_MOST, "max_regions_per_phrase"),),
    apply=cap_candidates,
    score_fields=("max_candidates_per_phrase",),
)
