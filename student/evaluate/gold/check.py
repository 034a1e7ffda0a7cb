"""Checks of human gold before anything is measured on it.

An evaluator ignores an annotation of an unknown category or image, and a box of NaN counts as an object that no model
finds. The result would be wrong without a sign of it. Here it is an error that names the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from schemas.errors import ConfigError

_LISTS = ("images", "annotations", "categories")


def check_coco(gold: Any, path: Path) -> None:
    """Raise ConfigError unless ids are unique, annotations name images and categories, and boxes are numbers.

    gold: parsed JSON of any form
    """
    missing = set(_LISTS) - (gold.keys() if isinstance(gold, dict) else set())
    if missing:
        raise ConfigError(
            f"{path}: no {', '.join(sorted(missing))}; expected COCO JSON with human boxes: images, annotations, "
            "categories"
        )
    ids = {name: _check_ids(path, name, gold[name]) for name in _LISTS}
    captioned = {image["id"] for image in gold["images"] if isinstance(image.get("caption"), str)}
    for row in gold["annotations"]:
        for field, name in (("image_id", "images"), ("category_id", "categories")):
            if not _is_id(row.get(field)) or row[field] not in ids[name]:
                _reject(path, row, f"{field} {row.get(field)!r} is not among the {name}")
        _check_numbers(path, row)
        if row.get("tokens_positive") and row["image_id"] in captioned:
            _check_spans(path, row)
    for category in gold["categories"]:
        if not isinstance(category.get("name"), str) or not category["name"].strip():
            raise ConfigError(
                f"{path}: category {category['id']!r} has no name, so no prompt can ask for it; add one"
            )


def _check_ids(path: Path, name: str, items: object) -> set[int | str]:
    """Return the ids of one of the lists. Raise ConfigError unless each item has an id of its own."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{path}: {name} is {type(items).__name__}, expected a list of objects")
    ids: set[int | str] = set()
    for item in items:
        own = item.get("id")
        if not _is_id(own) or own in ids:
            problem = "occurs twice" if _is_id(own) else "is not a whole number or text"
            raise ConfigError(f"{path}: the id {own!r} of one of the {name} {problem}; give each its own")
        ids.add(own)
    return ids


def _check_numbers(path: Path, row: Mapping[str, Any]) -> None:
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:
        _reject(path, row, f"bbox is {box!r}, expected four finite numbers x, y, width, height in pixels")
    if "area" in row and not (_is_number(row["area"]) and row["area"] >= 0):
        _reject(path, row, f"area is {row['area']!r}, expected a finite number of at least 0")
    if row.get("iscrowd", 0) not in (0, 1):
        _reject(path, row, f"iscrowd is {row['iscrowd']!r}, expected 0 or 1")


def _check_spans(path: Path, row: Mapping[str, Any]) -> None:
    spans = row["tokens_positive"]
    if not isinstance(spans, list) or not all(_is_span(span) for span in spans):
        _reject(
            path,
            row,
            f"tokens_positive is {str(spans)[:80]}, expected spans [[begin, end], ...] of the caption",
        )


def _is_span(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not all(type(end) is int for end in value):
        return False
    return bool(0 <= value[0] < value[1])


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _reject(path: Path, row: Mapping[str, Any], reason: str) -> NoReturn:
    raise ConfigError(f"{path}: annotation {row['id']!r}: {reason}; correct or remove it")
