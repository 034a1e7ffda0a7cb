"""Drop the worse of two boxes of a phrase that overlap."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Bound, Decisions_R, EvidenceLimit, RegionRule, drop
from schemas.boxes import nms
from schemas.settings import CompatibleSettings


class OverlapFields(CompatibleSettings):
    """Settings of the rule."""

    nms_iou: float = Field(
        0.6, ge=0, le=1, description="per phrase, of two boxes that overlap above this IoU the better stays"
    )


def suppress_overlaps(batch: RegionBatch, policy: OverlapFields) -> Decisions_R:
    """Apply non-maximum suppression to the regions of each phrase."""
    flags_R = np.ones(len(batch), dtype=bool)
    for own in batch.iter_phrases():
        flags_R[own[nms(batch.boxes_R4[own], batch.scores_R[own], policy.nms_iou)]] = False
    return drop(flags_R)


ENTRY = RegionRule(
    "overlap",
    "overlaps a better box of its phrase above nms_iou",
    OverlapFields,
    50,
    (EvidenceLimit("nms_iou", Bound.AT_MOST, "nms_iou"),),
    apply=suppress_overlaps,
)
