"""Results whose ids match those of the gold by accident: both count from another number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import nlargest

from student.gold.coco.types import CocoDetection, CocoId, GoldDataset

_LOOKED_AT = 2000  # detections, the best ones
_MIN_HITS = 3
_MIN_PLACES = 2
_TIMES = 4  # so many times more hits with the other ids

Place = tuple[CocoId, CocoId]


def describe_accidental_join(rows: Sequence[CocoDetection], gold: GoldDataset) -> str | None:
    """Return the evidence that image or category ids are off by one, None without.

    A detection hits if it meets a gold box of its image and category by half. With ids that are off by one, the
    neighbors' boxes are hit and the own are not.
    """
    boxes: defaultdict[Place, list[list[float]]] = defaultdict(list)
    for annotation in gold["annotations"]:
        if not annotation.get("iscrowd"):
            boxes[annotation["image_id"], annotation["category_id"]].append(annotation["bbox"])
    best = nlargest(_LOOKED_AT, rows, key=lambda row: row["score"])
    hits: Counter[tuple[str, int]] = Counter()
    places: defaultdict[tuple[str, int], set[CocoId]] = defaultdict(set)
    for row in best:
        for what, shift in (("", 0), ("image", 1), ("image", -1), ("category", 1), ("category", -1)):
            if _is_hit(row, _move(row, what, shift), boxes):
                hits[what, shift] += 1
                places[what, shift].add(row["category_id"] if what == "category" else row["image_id"])
    own = hits.pop(("", 0), 0)
    if not hits:
        return None
    (what, shift), most = hits.most_common(1)[0]
    # A model may take one class for its neighbor, but not several.
    if most < max(_MIN_HITS, _TIMES * own) or len(places[what, shift]) < _MIN_PLACES:
        return None
    return (
        f"{most} of the {len(best)} best detections meet a box of the {what} whose id is {abs(shift)} "
        f"{'more' if shift > 0 else 'less'}, and {own} one of their own {what}: the {what} ids match by accident. Let "
        "both files count from the same number"
    )


def _move(row: CocoDetection, what: str, shift: int) -> Place | None:
    image, category = row["image_id"], row["category_id"]
    if what == "image":
        return (image + shift, category) if isinstance(image, int) else None
    if what == "category":
        return (image, category + shift) if isinstance(category, int) else None
    return image, category


def _is_hit(row: CocoDetection, place: Place | None, boxes: Mapping[Place, list[list[float]]]) -> bool:
    return place is not None and any(_overlap(row["bbox"], box) >= 0.5 for box in boxes.get(place, ()))


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the IoU of two boxes xywh."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
