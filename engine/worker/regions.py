"""A teacher's raw regions become evidence: checked, clipped, rounded, suppressed once per phrase, capped.

Promise: the result is a function of the set of regions alone, not of the order in which the teacher gave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.boxes import area, as_boxes, clip, nms
from schemas.errors import SampleRejectedError
from schemas.records import Region, Sample
from schemas.settings import EvidenceSettings

_FLOATS = ("x0", "y0", "x1", "y1", "score", "class_score", "quality")


def evidence_regions(
    sample: Sample, regions: Sequence[Region], evidence: EvidenceSettings
) -> tuple[list[dict[str, Any]], set[int]]:
    """Rows of regions, by phrase and falling score, and the indices of phrases that the cap cut.

    A box without area inside the image is no region. Raises SampleRejectedError: TEACHER_NONFINITE for a number that is
    not finite, TEACHER_ERROR for a phrase that the sample does not have or a score outside 0..1.
    """
    rows = [_checked(sample, region) for region in regions]
    boxes = clip(as_boxes([[row[name] for name in _FLOATS[:4]] for row in rows]), sample.width, sample.height)
    sides = area(boxes)
    for row, box in zip(rows, boxes, strict=True):
        row.update(zip(_FLOATS[:4], box.tolist(), strict=True))
    strong = [
        row for row, side in zip(rows, sides, strict=True) if side > 0 and row["score"] >= evidence.min_score
    ]
    kept: list[dict[str, Any]] = []
    truncated: set[int] = set()
    for phrase in sorted({row["phrase"] for row in strong}):
        best = _suppressed([row for row in strong if row["phrase"] == phrase], evidence.nms_iou)
        if len(best) > evidence.max_regions_per_phrase:
            truncated.add(phrase)
        kept += best[: evidence.max_regions_per_phrase]
    return kept, truncated


def _suppressed(rows: list[dict[str, Any]], nms_iou: float) -> list[dict[str, Any]]:
    rows = sorted(rows, key=_rank)
    scores = np.array([row["score"] for row in rows], dtype=np.float64)
    boxes = as_boxes([[row[name] for name in _FLOATS[:4]] for row in rows])
    return [rows[index] for index in nms(boxes, scores, nms_iou)]


def _rank(row: dict[str, Any]) -> tuple[float, ...]:
    return (-row["score"], row["x0"], row["y0"], row["x1"], row["y1"], row["pass_index"])


def _checked(sample: Sample, region: Region) -> dict[str, Any]:
    if region.phrase >= len(sample.phrases):
        raise SampleRejectedError(
            "TEACHER_ERROR", f"region of phrase {region.phrase}, the sample has {len(sample.phrases)}"
        )
    row = region.model_dump()
    for name in _FLOATS:
        if row[name] is not None:
            # stored as float32: rounding before suppression makes the stored rows decide it
            row[name] = float(np.float32(row[name]))
            if not np.isfinite(row[name]):
                raise SampleRejectedError("TEACHER_NONFINITE", f"{name} is {row[name]}")
    if not 0 <= row["score"] <= 1:
        raise SampleRejectedError("TEACHER_ERROR", f"score {row['score']} is outside 0..1")
    return row
