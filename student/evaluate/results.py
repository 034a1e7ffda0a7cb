"""Read a results file strictly, and join it with its gold by the ids of images and categories.

Promise: a join in which nothing matches is refused. What a partial join leaves out is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, cast

from schemas.errors import ConfigError
from student.evaluate.gold.accidental_join import describe_accidental_join
from student.evaluate.gold.load import read_coco_json
from student.gold.coco.types import (
    CocoDetection,
    CocoId,
    GoldCategory,
    GoldDataset,
)
from student.gold.ids import KnownIds, id_text

_FIELDS = ("image_id", "category_id", "bbox", "score")
_MAX_LISTED = 5
# From this share of boxes outside their image as xywh, the file is taken for xyxy if all of them fit as xyxy.
_XYXY_SHARE = 0.1
_OUTSIDE_PX = 2.0


@dataclass(frozen=True)
class JoinedResults:
    """Detections in the gold's ids. `unmatched` counts the detections that were left out; empty if there are none."""

    rows: list[CocoDetection]
    unmatched: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_results(path: Path) -> list[CocoDetection]:
    """Return the detections of a COCO results file.

    raises: NotFoundError; ConfigError for a file that is not such a list, or that names a detection that is not valid
    """
    rows = read_coco_json(path)
    if not isinstance(rows, list):
        raise ConfigError(
            f"{path}: {type(rows).__name__}, expected a list of COCO detections with {', '.join(sorted(_FIELDS))}"
        )
    for number, row in enumerate(rows):
        _check_detection(path, number, row)
    return cast(list[CocoDetection], rows)


def _check_detection(path: Path, number: int, row: object) -> None:
    missing = [name for name in _FIELDS if not isinstance(row, dict) or name not in row]
    if missing or not isinstance(row, dict):
        _reject(path, number, f"has no {', '.join(missing)}", f"an object with {', '.join(sorted(_FIELDS))}")
    for name in ("image_id", "category_id"):
        if id_text(row[name]) is None:
            _reject(path, number, f"has {name} {row[name]!r}", "a whole number or text, an id of the gold")
    numbers = [*row["bbox"], row["score"]] if isinstance(row["bbox"], list) else []
    if len(numbers) != 5 or not all(map(_is_finite, numbers)):
        _reject(
            path,
            number,
            f"has bbox {row['bbox']!r} and score {row['score']!r}",
            "four finite numbers x, y, width, height in pixels and one finite score",
        )


def _reject(path: Path, number: int, problem: str, expected: str) -> NoReturn:
    raise ConfigError(f"{path}: detection {number} {problem}; expected {expected}; correct or remove it")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def join_results(
    rows: Sequence[CocoDetection], gold: GoldDataset, results_path: Path, gold_path: Path
) -> JoinedResults:
    """Return the detections of the gold's images and categories, in the gold's ids.

    raises: ConfigError if there are detections and none of them has an image and a category of the gold, or if the ids
            match by accident
    """
    images = KnownIds(image["id"] for image in gold["images"])
    categories = KnownIds(
        (category["id"] for category in gold["categories"]), _source_ids(gold["categories"])
    )
    ids = [(images.find(row["image_id"]), categories.find(row["category_id"])) for row in rows]
    matched: list[CocoDetection] = [
        {**row, "image_id": image, "category_id": category}
        for row, (image, category) in zip(rows, ids, strict=True)
        if image is not None and category is not None
    ]
    unknown = {
        "image": _distinct(row["image_id"] for row, (image, _) in zip(rows, ids) if image is None),
        "category": _distinct(row["category_id"] for row, (_, name) in zip(rows, ids) if name is None),
    }
    if rows and not matched:
        _refuse_join(rows, gold, unknown, results_path, gold_path)
    if accident := describe_accidental_join(matched, gold):
        raise ConfigError(f"{results_path} and {gold_path}: {accident}")
    left_out = len(rows) - len(matched)
    notes = [
        *_note_left_out(left_out, len(rows), unknown, gold_path),
        *_note_other_forms(rows, ids),
        *_note_empty(matched, gold),
        *_note_corners(matched, gold),
    ]
    if not left_out:
        return JoinedResults(matched, notes=notes)
    counts = {"detections": left_out, "images": len(unknown["image"]), "categories": len(unknown["category"])}
    return JoinedResults(matched, counts, notes)


def _source_ids(categories: Sequence[GoldCategory]) -> dict[str, CocoId]:
    """Return the ids in the file of imported gold. Categories of that file with equal names became one."""
    return {text: category["id"] for category in categories for text in category.get("source_ids", ())}


def _distinct(values: Iterable[CocoId]) -> list[CocoId]:
    """Return the values that differ as text, in order."""
    return list({str(id_text(value)): value for value in values}.values())


def _refuse_join(
    rows: Sequence[CocoDetection],
    gold: GoldDataset,
    unknown: Mapping[str, list[CocoId]],
    results_path: Path,
    gold_path: Path,
) -> NoReturn:
    used = {
        "image": _distinct(row["image_id"] for row in rows),
        "category": _distinct(row["category_id"] for row in rows),
    }
    known = {
        "image": [image["id"] for image in gold["images"]],
        "category": [category["id"] for category in gold["categories"]],
    }
    details = "; ".join(
        f"{len(used[kind]) - len(unknown[kind])} of {len(used[kind])} {kind} ids match: "
        f"{_format_values(unknown[kind] or used[kind])} in the results, {_format_values(known[kind])} in the gold"
        for kind in ("image", "category")
    )
    remedy = "give results and gold of the same data set"
    if gold.get("categories_by_name"):
        remedy = (
            "this gold does not have the category ids of the file it came from, so the names of its categories are the "
            "ids: evaluate against the file itself, import COCO gold again into a new folder, or write names as "
            "category_id"
        )
    raise ConfigError(
        f"{results_path}: none of its {len(rows)} detections is of {gold_path}: {details}; {remedy}"
    )


def _format_values(values: Sequence[CocoId]) -> str:
    return ", ".join(repr(value) for value in values[:_MAX_LISTED]) + (
        ", ..." if len(values) > _MAX_LISTED else ""
    )


def _note_left_out(
    left_out: int, total: int, unknown: Mapping[str, list[CocoId]], gold_path: Path
) -> list[str]:
    if not left_out:
        return []
    missing = [
        f"{kind} ids {_format_values(values)} ({len(values)})" for kind, values in unknown.items() if values
    ]
    return [
        f"{left_out} of {total} detections are left out: {gold_path} does not have the {' and the '.join(missing)}"
    ]


def _note_other_forms(
    rows: Sequence[CocoDetection], ids: Sequence[tuple[CocoId | None, CocoId | None]]
) -> list[str]:
    """Return a note on the number of ids that the results write in another form than the gold."""
    pairs = (
        pair
        for row, (image, category) in zip(rows, ids, strict=True)
        for pair in ((row["image_id"], image), (row["category_id"], category))
    )
    others = [
        (theirs, own)
        for theirs, own in pairs
        if own is not None and type(own) is not type(theirs) and id_text(own) == id_text(theirs)
    ]
    if not others:
        return []
    theirs, ours = others[0]
    return [
        f"{len(others)} ids of the results are in another form than the gold's, e.g. {theirs!r} for {ours!r}"
    ]


def _note_empty(matched: Sequence[CocoDetection], gold: GoldDataset) -> list[str]:
    """Return notes on the number of images and boxed categories of the gold without a detection."""
    detected = {
        "images": {row["image_id"] for row in matched},
        "categories": {row["category_id"] for row in matched},
    }
    boxed = {one["category_id"] for one in gold["annotations"] if not one.get("iscrowd")}
    expected = {
        "images": [image["id"] for image in gold["images"]],
        "categories": [c["id"] for c in gold["categories"] if c["id"] in boxed],
    }
    notes = []
    for kind, title in (("images", "images"), ("categories", "categories with boxes")):
        empty = [value for value in expected[kind] if value not in detected[kind]]
        if empty:
            notes.append(
                f"{len(empty)} of {len(expected[kind])} {title} of the gold have no detection: {_format_values(empty)}"
            )
    return notes


def _note_corners(matched: Sequence[CocoDetection], gold: GoldDataset) -> list[str]:
    """Return a note if the boxes look like corners: many are outside their image as xywh, and all fit as xyxy."""
    sizes = {image["id"]: (image.get("width"), image.get("height")) for image in gold["images"]}
    outside = 0
    for row in matched:
        (x, y, right, bottom), (width, height) = row["bbox"], sizes[row["image_id"]]
        if width is None or height is None or not (_is_finite(width) and _is_finite(height)):
            return []
        if not (x < right <= width + _OUTSIDE_PX and y < bottom <= height + _OUTSIDE_PX):
            return []
        outside += x + right > width + _OUTSIDE_PX or y + bottom > height + _OUTSIDE_PX
    if outside <= _XYXY_SHARE * len(matched):
        return []
    return [
        f"{outside} of {len(matched)} boxes leave their image when read as x, y, width, height, and all fit it as x0, "
        "y0, x1, y1: the results seem to have corners; COCO results have x, y, width, height"
    ]
