"""A teacher's raw regions become evidence: checked, clipped, rounded, suppressed once per phrase, capped.

The result is a function of the set of regions, not of their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.boxes import area, as_boxes, clip, nms
from schemas.errors import SampleRejectedError
from schemas.records import Region, Sample
from schemas.rows import RegionRow
from schemas.settings import EvidenceSettings

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.


def evidence_regions(
    sample: Sample, regions: Sequence[Region], evidence: EvidenceSettings
) -> tuple[list[RegionRow], set[int]]:
    """Return rows of regions, by phrase and falling score, and the numbers of the phrases that the cap cut.

    A box without area inside the image is dropped.
    raises: SampleRejectedError: TEACHER_NONFINITE if a number is not finite, TEACHER_ERROR if the sample has no such
            phrase or a score is outside 0..1
    """
    rows = [_region_row(sample, region) for region in regions]
    boxes_N4 = clip(as_boxes([_box(row) for row in rows]), sample.width, sample.height)
    areas_N = area(boxes_N4)
    for row, box in zip(rows, boxes_N4, strict=True):
        row["x0"], row["y0"], row["x1"], row["y1"] = box.tolist()
    candidates = [
        row
        for row, size in zip(rows, areas_N, strict=True)
        if size > 0 and row["score"] >= evidence.min_score
    ]
    kept: list[RegionRow] = []
    truncated: set[int] = set()
    for phrase in sorted({row["phrase"] for row in candidates}):
        best = _suppress([row for row in candidates if row["phrase"] == phrase], evidence.nms_iou)
        if len(best) > evidence.max_regions_per_phrase:
            truncated.add(phrase)
        kept += best[: evidence.max_regions_per_phrase]
    return kept, truncated


def _suppress(rows: list[RegionRow], nms_iou: float) -> list[RegionRow]:
    """Return the rows that non-maximum suppression keeps, by falling score."""
    rows = sorted(rows, key=_rank)
    scores_N = np.array([row["score"] for row in rows], dtype=np.float64)
    boxes_N4 = as_boxes([_box(row) for row in rows])
    return [rows[index] for index in nms(boxes_N4, scores_N, nms_iou)]


def _rank(row: RegionRow) -> tuple[float, ...]:
    return (-row["score"], *_box(row), row["pass_index"])


def _box(row: RegionRow) -> list[float]:
    return [row["x0"], row["y0"], row["x1"], row["y1"]]


def _region_row(sample: Sample, region: Region) -> RegionRow:
    if region.phrase >= len(sample.phrases):
        raise SampleRejectedError(
            "TEACHER_ERROR", f"region of phrase {region.phrase}, the sample has {len(sample.phrases)}"
        )
    row = RegionRow(
        phrase=region.phrase,
        x0=_round_to_float32("x0", region.x0),
        y0=_round_to_float32("y0", region.y0),
        x1=_round_to_float32("x1", region.x1),
        y1=_round_to_float32("y1", region.y1),
        score=_round_to_float32("score", region.score),
        class_score=_round_if_present("class_score", region.class_score),
        quality=_round_if_present("quality", region.quality),
        pass_index=region.pass_index,
    )
    if not 0 <= row["score"] <= 1:
        raise SampleRejectedError("TEACHER_ERROR", f"score {row['score']} is outside 0..1")
    return row


def _round_if_present(name: str, value: float | None) -> float | None:
    return None if value is None else _round_to_float32(name, value)


def _round_to_float32(name: str, value: float) -> float:
    """Return the value as it is stored. Rounding comes before suppression so that stored rows decide it."""
    rounded = float(np.float32(value))
    if not np.isfinite(rounded):
        raise SampleRejectedError("TEACHER_NONFINITE", f"{name} is {rounded}")
    return rounded
