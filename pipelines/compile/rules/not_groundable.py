"""Drop the regions of phrases that name nothing that can be boxed."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Decisions_R, RegionRule, SoftenedBy, drop
from schemas.settings import CompatibleSettings


class GroundableFields(CompatibleSettings):
    """Settings of the rule."""

    groundable_only: bool = Field(True, description="drop the regions of phrases marked as not groundable")


def drop_not_groundable(batch: RegionBatch, policy: GroundableFields) -> Decisions_R:
    """Drop every region whose phrase is not groundable."""
    if not policy.groundable_only:
        return drop(np.zeros(len(batch), dtype=bool))
    return drop(batch.flag_phrases(lambda phrase: not phrase["groundable"]))


ENTRY = RegionRule(
    "not_groundable",
    "the phrase names nothing that can be boxed (groundable_only)",
    GroundableFields,
    20,
    apply=drop_not_groundable,
    softened_by=SoftenedBy.NOTHING,
)
