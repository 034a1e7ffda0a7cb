"""What human gold must hold before anything is measured on it.

An evaluator passes over an annotation whose category or image it does not know, and takes a box of NaN for one that
nobody finds: the number that comes out is wrong and looks right. Here it is an error that names the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from schemas.errors import ConfigError

_LISTS = ("images", "annotations", "categories")


def check_coco(gold: Any, path: Path) -> None:
    """Raise ConfigError unless ids are there once, annotations name images and categories, and boxes are numbers."""
    missing = set(_LISTS) - (gold.keys() if isinstance(gold, dict) else set())
    if missing:
        raise ConfigError(f"{path}: no {', '.join(sorted(missing))}; the gold is COCO JSON with human boxes")
    ids = {name: _ids(path, name, gold[name]) for name in _LISTS}
    captioned = {image["id"] for image in gold["images"] if isinstance(image.get("caption"), str)}
    for row in gold["annotations"]:
        for field, name in (("image_id", "images"), ("category_id", "categories")):
            if not _is_id(row.get(field)) or row[field] not in ids[name]:
                _wrong(path, row, f"{field} {row.get(field)!r} is not among the {name}")
        _check_numbers(path, row)
        if row.get("tokens_positive") and row["image_id"] in captioned:
            _check_spans(path, row)
    for category in gold["categories"]:
        if not isinstance(category.get("name"), str) or not category["name"].strip():
            raise ConfigError(f"{path}: category {category['id']!r} has no name: nothing can be asked for it")


def _ids(path: Path, name: str, items: Any) -> set[Any]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{path}: {name} is {type(items).__name__}, expected a list of objects")
    ids: set[Any] = set()
    for item in items:
        found = item.get("id")
        if not _is_id(found) or found in ids:
            told = "stands there twice" if _is_id(found) else "is no whole number or text"
            raise ConfigError(f"{path}: the id {found!r} of one of the {name} {told}; give each its own")
        ids.add(found)
    return ids


def _check_numbers(path: Path, row: Mapping[str, Any]) -> None:
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:
        _wrong(path, row, f"bbox is {box!r}, expected four finite numbers x, y, width, height in pixels")
    if "area" in row and not (_is_number(row["area"]) and row["area"] >= 0):
        _wrong(path, row, f"area is {row['area']!r}, expected a finite number")
    if row.get("iscrowd", 0) not in (0, 1):
        _wrong(path, row, f"iscrowd is {row['iscrowd']!r}, expected 0 or 1")


def _check_spans(path: Path, row: Mapping[str, Any]) -> None:
    spans = row["tokens_positive"]
    if not isinstance(spans, list) or not all(_is_span(span) for span in spans):
        _wrong(
            path,
            row,
            f"tokens_positive is {str(spans)[:80]}, expected places [[begin, end], ...] of the caption",
        )


def _is_span(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not all(type(end) is int for end in value):
        return False
    return bool(0 <= value[0] < value[1])


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(path: Path, row: Mapping[str, Any], reason: str) -> NoReturn:
    raise ConfigError(f"{path}: annotation {row['id']!r}: {reason}; mend or remove it")
