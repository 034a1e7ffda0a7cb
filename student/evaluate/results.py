"""A results file and the gold it is of: read strictly, then joined by the ids of images and categories.

Promise: a join in which nothing matches is refused, and what a partial one leaves out is counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from schemas.errors import ConfigError
from student.evaluate.gold.ids import Ids, id_text
from student.evaluate.gold.load import read_json

_FIELDS = ("image_id", "category_id", "bbox", "score")
_SHOWN = 5
# Share of boxes that leave their image as xywh from which on the file is taken for xyxy, if all of them fit so.
_XYXY_SHARE = 0.1
_OUTSIDE_PX = 2.0


@dataclass(frozen=True)
class Joined:
    """Detections in the gold's ids. `unmatched` counts what was left out, empty when nothing was."""

    rows: list[dict[str, Any]]
    unmatched: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the detections of a COCO results file.

    raises: NotFoundError, and ConfigError for a file that is no such list or a detection that is none, which is named
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        raise ConfigError(
            f"{path}: {type(rows).__name__}, expected a list of COCO detections with {', '.join(sorted(_FIELDS))}"
        )
    for number, row in enumerate(rows):
        _check(path, number, row)
    return rows


def _check(path: Path, number: int, row: Any) -> None:
    missing = [name for name in _FIELDS if not isinstance(row, dict) or name not in row]
    if missing:
        _wrong(path, number, f"has no {', '.join(missing)}", f"an object with {', '.join(sorted(_FIELDS))}")
    for name in ("image_id", "category_id"):
        if id_text(row[name]) is None:
            _wrong(path, number, f"has {name} {row[name]!r}", "a whole number or text, an id of the gold")
    numbers = [*row["bbox"], row["score"]] if isinstance(row["bbox"], list) else []
    if len(numbers) != 5 or not all(map(_is_finite, numbers)):
        _wrong(
            path,
            number,
            f"has bbox {row['bbox']!r} and score {row['score']!r}",
            "four finite numbers x, y, width, height in pixels and one finite score",
        )


def _wrong(path: Path, number: int, found: str, expected: str) -> NoReturn:
    raise ConfigError(f"{path}: detection {number} {found}; expected {expected}; mend or remove it")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def join_results(
    rows: Sequence[Mapping[str, Any]], gold: Mapping[str, Any], results_path: Path, gold_path: Path
) -> Joined:
    """Return the detections of the gold's images and categories, in the gold's ids.

    raises: ConfigError when there are detections and none of them has an image and a category of the gold
    """
    images = Ids(image["id"] for image in gold["images"])
    categories = Ids((category["id"] for category in gold["categories"]), _other_ids(gold["categories"]))
    found = [(images.find(row["image_id"]), categories.find(row["category_id"])) for row in rows]
    kept = [
        {**row, "image_id": image, "category_id": category}
        for row, (image, category) in zip(rows, found, strict=True)
        if image is not None and category is not None
    ]
    unknown = {
        "image": _distinct(row["image_id"] for row, (image, _) in zip(rows, found) if image is None),
        "category": _distinct(row["category_id"] for row, (_, name) in zip(rows, found) if name is None),
    }
    if rows and not kept:
        _refuse(rows, gold, unknown, results_path, gold_path)
    left_out = len(rows) - len(kept)
    notes = [
        *_describe_left_out(left_out, len(rows), unknown, gold_path),
        *_other_forms(rows, found),
        *_without_results(kept, gold),
        *_as_xyxy(kept, gold),
    ]
    if not left_out:
        return Joined(kept, notes=notes)
    counts = {"detections": left_out, "images": len(unknown["image"]), "categories": len(unknown["category"])}
    return Joined(kept, counts, notes)


def _other_ids(categories: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ids of the file that imported gold came from; categories with equal names have become one."""
    return {text: category["id"] for category in categories for text in category.get("source_ids", ())}


def _distinct(values: Any) -> list[Any]:
    return list({str(id_text(value)): value for value in values}.values())


def _refuse(
    rows: Sequence[Mapping[str, Any]],
    gold: Mapping[str, Any],
    unknown: Mapping[str, list[Any]],
    results_path: Path,
    gold_path: Path,
) -> NoReturn:
    asked = {
        "image": _distinct(row["image_id"] for row in rows),
        "category": _distinct(row["category_id"] for row in rows),
    }
    known = {"image": gold["images"], "category": gold["categories"]}
    told = "; ".join(
        f"{len(asked[kind]) - len(unknown[kind])} of {len(asked[kind])} {kind} ids match: "
        f"{_format_values(unknown[kind] or asked[kind])} in the results, "
        f"{_format_values([item['id'] for item in known[kind]])} in the gold"
        for kind in ("image", "category")
    )
    remedy = "give results and gold of the same data set"
    if gold.get("categories_by_name"):
        remedy = (
            "this gold does not hold the category ids of the file it came from, so its categories go by name: evaluate "
            "against the file itself, import COCO gold again into a new folder, or write names as category_id"
        )
    raise ConfigError(
        f"{results_path}: none of its {len(rows)} detections is of {gold_path}: {told}; {remedy}"
    )


def _format_values(values: Sequence[Any]) -> str:
    return ", ".join(repr(value) for value in values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")


def _describe_left_out(
    left_out: int, total: int, unknown: Mapping[str, list[Any]], gold_path: Path
) -> list[str]:
    if not left_out:
        return []
    said = [
        f"{kind} ids {_format_values(values)} ({len(values)})" for kind, values in unknown.items() if values
    ]
    return [
        f"{left_out} of {total} detections are left out: {gold_path} does not hold the {' and the '.join(said)}"
    ]


def _other_forms(rows: Sequence[Mapping[str, Any]], found: Sequence[tuple[Any, Any]]) -> list[str]:
    """Say how many detections write an id in another form than the gold."""
    others = [
        (row[name], own)
        for row, pair in zip(rows, found, strict=True)
        for name, own in zip(("image_id", "category_id"), pair, strict=True)
        if own is not None and type(own) is not type(row[name]) and id_text(own) == id_text(row[name])
    ]
    if not others:
        return []
    theirs, ours = others[0]
    return [
        f"{len(others)} ids of the results are in another form than the gold's, e.g. {theirs!r} for {ours!r}"
    ]


def _without_results(kept: Sequence[Mapping[str, Any]], gold: Mapping[str, Any]) -> list[str]:
    """Say how many images and boxed categories of the gold have no detection."""
    met = {"images": {row["image_id"] for row in kept}, "categories": {row["category_id"] for row in kept}}
    boxed = {one["category_id"] for one in gold["annotations"] if not one.get("iscrowd")}
    asked = {
        "images": [image["id"] for image in gold["images"]],
        "categories": [c["id"] for c in gold["categories"] if c["id"] in boxed],
    }
    said = []
    for kind, title in (("images", "images"), ("categories", "categories with boxes")):
        empty = [value for value in asked[kind] if value not in met[kind]]
        if empty:
            said.append(
                f"{len(empty)} of {len(asked[kind])} {title} of the gold have no detection: {_format_values(empty)}"
            )
    return said


def _as_xyxy(kept: Sequence[Mapping[str, Any]], gold: Mapping[str, Any]) -> list[str]:
    """Say that the boxes look like corners: many leave their image as xywh, and all fit it as xyxy."""
    sizes = {image["id"]: (image.get("width"), image.get("height")) for image in gold["images"]}
    outside = 0
    for row in kept:
        (x, y, right, bottom), (width, height) = row["bbox"], sizes[row["image_id"]]
        if not (_is_finite(width) and _is_finite(height)):
            return []
        if not (x < right <= width + _OUTSIDE_PX and y < bottom <= height + _OUTSIDE_PX):
            return []
        outside += x + right > width + _OUTSIDE_PX or y + bottom > height + _OUTSIDE_PX
    if outside <= _XYXY_SHARE * len(kept):
        return []
    return [
        f"{outside} of {len(kept)} boxes leave their image when read as x, y, width, height, and all fit it as x0, y0, "
        "x1, y1: the results seem to hold corners; COCO results hold x, y, width, height"
    ]
