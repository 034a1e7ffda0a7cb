"""Give regions of different phrases that are one object the same box."""

from __future__ import annotations

from pydantic import Field

from pipelines.compile.region_batch import RegionBatch
from pipelines.compile.rule import BoxRule
from schemas.boxes import Boxes, iou
from schemas.settings import CompatibleSettings


class MergeFields(CompatibleSettings):
    """Settings of the rule."""

    merge_iou: float | None = Field(
        None,
        gt=0,
        le=1,
        description="regions of different phrases that overlap above it share the best one's box",
    )


def merge_boxes(batch: RegionBatch, policy: MergeFields) -> Boxes:
    """Return the boxes [R, 4], those of different phrases that are one object made equal.

    Regions are visited best score first. A region takes the box of the first better region of another phrase that it
    overlaps above `merge_iou`. Two regions of one phrase stay two boxes.
    """
    boxes_R4 = batch.boxes_R4.copy()
    if policy.merge_iou is None:
        return boxes_R4
    for _, regions in batch.iter_rows():
        own = range(regions.start, regions.stop)
        overlap_RR = iou(batch.boxes_R4[regions], batch.boxes_R4[regions])
        heads: list[int] = []
        taken: set[tuple[int, int]] = set()  # (head, phrase)
        for i in sorted(own, key=lambda i: (-batch.scores_R[i], i)):
            phrase = int(batch.phrase_R[i])
            near = (h for h in heads if overlap_RR[h - own.start, i - own.start] > policy.merge_iou)
            head = next((h for h in near if (h, phrase) not in taken), None)
            if head is None:
                heads.append(head := i)
            else:
                boxes_R4[i] = boxes_R4[head]
            taken.add((head, phrase))
    return boxes_R4


ENTRY = BoxRule(
    "merge",
    "takes the box of a better region of another phrase (merge_iou)",
    MergeFields,
    200,
    apply=merge_boxes,
)
