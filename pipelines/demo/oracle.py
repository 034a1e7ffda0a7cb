"""The true content of the web scenes, for the program that reviews the audit and the precision curves.

It is never used for training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from pipelines.audit.report import Truth, truth_of_rows
from pipelines.demo.world.lexicon import HEAD_NOUNS, TAIL_NOUNS
from pipelines.demo.world.web import TruthPhrase, read_truth
from pipelines.quality.intervals import estimate_share
from pipelines.reporting.data import Interval, ThresholdLine, ThresholdPoint
from schemas.boxes import Boxes, as_boxes, iou
from schemas.rows import EvidenceRow, PhraseRow, RegionRow

GROUPS = {"head": HEAD_NOUNS, "tail": TAIL_NOUNS}
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 16))
SAME_PLACE_IOU = 0.5


class TruthRegion(TypedDict):
    """A box in px, half-open, for a phrase of the caption."""

    phrase: int
    x0: float
    y0: float
    x1: float
    y1: float


class TruthBoxes(TypedDict):
    """The boxes of all phrases of a sample's caption, in the form of gold."""

    shard: str
    key: str
    phrases: list[TruthPhrase]
    regions: list[TruthRegion]


def read_truth_rows(truth_file: Path) -> Iterator[TruthBoxes]:
    """Yield the truth in the form of gold: every box of every thing to which a phrase of the caption applies."""
    for row in read_truth(truth_file).values():
        regions = [
            _make_region(number, row["things"][thing]["box_xyxy_px"])
            for number, phrase in enumerate(row["phrases"])
            for thing in phrase["things"]
        ]
        yield {"shard": row["shard"], "key": row["key"], "phrases": row["phrases"], "regions": regions}


def _make_region(phrase: int, box_xyxy_px: tuple[float, float, float, float]) -> TruthRegion:
    x0, y0, x1, y1 = box_xyxy_px
    return {"phrase": phrase, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def _sides(region: TruthRegion | RegionRow) -> tuple[float, float, float, float]:
    return region["x0"], region["y0"], region["x1"], region["y1"]


def load_web_truth(truth_file: Path) -> Truth:
    """Return a function from a sampled region to the boxes of the things that its phrase names."""
    return truth_of_rows(read_truth_rows(truth_file))


def compute_precision_lines(evidence: Iterable[EvidenceRow], truth_file: Path) -> tuple[ThresholdLine, ...]:
    """Compute the precision of each phrase's best region at or above each threshold, for head and tail phrases.

    A region is right if its phrase names a thing of the scene and their boxes have an IoU of at least 0.5. All regions
    of a phrase that names nothing are wrong.
    """
    boxes = {(row["shard"], row["key"]): row for row in read_truth_rows(truth_file)}
    scored: dict[str, list[tuple[float, bool]]] = {name: [] for name in GROUPS}
    for row in evidence:
        true = boxes[row["shard"].rsplit("/", 1)[-1], row["key"]]
        for number, best in _pick_best_regions(row).items():
            phrase = row["phrases"][number]
            group = "tail" if phrase["root"] in TAIL_NOUNS else "head"
            scored[group].append((best["score"], is_right(best, find_named_boxes(phrase, true))))
    return tuple(ThresholdLine(name=name, points=_compute_points(judged)) for name, judged in scored.items())


def _pick_best_regions(row: EvidenceRow) -> dict[int, RegionRow]:
    best: dict[int, RegionRow] = {}
    for region in row["regions"]:
        previous = best.get(region["phrase"])
        if previous is None or region["score"] > previous["score"]:
            best[region["phrase"]] = region
    return best


def find_named_boxes(phrase: PhraseRow, true: TruthBoxes) -> Boxes:
    """Return the boxes of the things that a phrase of a row names, found by its span. Shape [num_boxes, 4]."""
    spans = [(item["begin"], item["end"]) for item in true["phrases"]]
    own = [box for box in true["regions"] if spans[box["phrase"]] == (phrase["begin"], phrase["end"])]
    return as_boxes([list(_sides(box)) for box in own])


def is_right(region: RegionRow, named: Boxes) -> bool:
    """Return whether a region has an IoU of at least SAME_PLACE_IOU with one of the named boxes."""
    overlap = iou(as_boxes(list(_sides(region))), named)
    return bool((overlap >= SAME_PLACE_IOU).any())


def _compute_points(judged: list[tuple[float, bool]]) -> tuple[ThresholdPoint, ...]:
    points = []
    for threshold in THRESHOLDS:
        kept = [right for score, right in judged if score >= threshold]
        if kept:
            estimate = estimate_share(sum(kept) / len(kept), len(kept))
            points.append(
                ThresholdPoint(
                    threshold=threshold,
                    precision=Interval(value=estimate.value, low=estimate.low, high=estimate.high),
                    kept=len(kept),
                )
            )
    return tuple(points)
