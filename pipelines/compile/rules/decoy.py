"""Drop the regions of decoys: phrases that were asked for because they are believed absent."""

from __future__ import annotations

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import Decisions_R, NoFields, RegionRule, SoftenedBy, drop


def drop_decoys(batch: RegionBatch, policy: NoFields) -> Decisions_R:
    """Drop every region of a decoy."""
    return drop(batch.flag_phrases(lambda phrase: phrase["kind"] == "decoy"))


ENTRY = RegionRule(
    "decoy",
    "the phrase is a decoy, believed absent",
    NoFields,
    10,
    apply=drop_decoys,
    softened_by=SoftenedBy.NOTHING,
)
