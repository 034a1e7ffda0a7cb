"""Human gold as COCO JSON, also with captions and `tokens_positive` (the MDETR style), checked when it is read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError, NotFoundError
from schemas.records import Phrase
from student.evaluate.gold.coco import read_coco_gold
from student.evaluate.gold.view import read_gold_view
from student.gold.boxes import BoxConvention
from student.gold.coco.types import CocoId, GoldDataset

LVIS_GROUPS = {"r": "rare", "c": "common", "f": "frequent"}


def read_coco_json(path: Path) -> Any:
    """Return the JSON of gold or results. Raise NotFoundError, or ConfigError with line and column."""
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; correct the path")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{error.msg}; correct the JSON there", where=f"{path}:{error.lineno}:{error.colno}"
        ) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"not JSON text: {error}; write it again as UTF-8 JSON", where=str(path)) from error


def read_gold(path: Path, convention: BoxConvention | None = None) -> GoldDataset:
    """Return the gold in a COCO file or in a folder of imported gold.

    convention: of the boxes of a file, if the user states it
    Raises ConfigError, NotFoundError.
    """
    if not path.is_dir():
        return read_coco_gold(path, convention)
    if convention is not None:
        raise ConfigError(
            f"{path} is imported gold, whose boxes are xyxy pixels; leave --boxes and --unit out, or give them to "
            "`gold import`"
        )
    return read_gold_view(str(path))


def select_images(gold: GoldDataset, image_ids: Collection[CocoId]) -> GoldDataset:
    """Return the gold of these images alone."""
    return {
        "categories": gold["categories"],
        "images": [image for image in gold["images"] if image["id"] in image_ids],
        "annotations": [row for row in gold["annotations"] if row["image_id"] in image_ids],
    }


def category_groups(gold: GoldDataset, field: str) -> dict[str, list[CocoId]]:
    """Return category ids by the value of a category field, e.g. LVIS's `frequency`; empty if no category has it."""
    groups: dict[str, list[CocoId]] = defaultdict(list)
    for category in gold["categories"]:
        fields: Mapping[str, object] = category
        if field in fields:
            value = str(fields[field])
            groups[LVIS_GROUPS.get(value, value)].append(category["id"])
    return dict(groups)


def gold_phrases(
    gold: GoldDataset,
) -> tuple[dict[CocoId, list[Phrase]], dict[CocoId, list[NDArray[np.float64]]]]:
    """Return by image id the phrases that annotations name in the caption, and the gold boxes [n, 4] xyxy of each.

    A phrase of several spans is read from the begin of the first to the end of the last one. Crowds are left out.
    """
    captions = {image["id"]: image["caption"] for image in gold["images"] if image.get("caption")}
    boxes: dict[CocoId, dict[tuple[int, int], list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in gold["annotations"]:
        spans = row.get("tokens_positive")
        if spans and row["image_id"] in captions and not row.get("iscrowd"):
            x, y, w, h = row["bbox"]
            boxes[row["image_id"]][_hull(spans)].append([x, y, x + w, y + h])
    phrases = {
        image: [_make_phrase(captions[image], begin, end) for begin, end in sorted(by_span)]
        for image, by_span in boxes.items()
    }
    return phrases, {
        image: [np.array(by_span[span]) for span in sorted(by_span)] for image, by_span in boxes.items()
    }


def phrase_categories(gold: GoldDataset) -> dict[CocoId, list[frozenset[CocoId]]]:
    """Return by image id the categories of the boxes of each phrase, in the order of `gold_phrases`."""
    captioned = {image["id"] for image in gold["images"] if image.get("caption")}
    categories: dict[CocoId, dict[tuple[int, int], set[CocoId]]] = defaultdict(lambda: defaultdict(set))
    for row in gold["annotations"]:
        spans = row.get("tokens_positive")
        if spans and row["image_id"] in captioned and not row.get("iscrowd"):
            categories[row["image_id"]][_hull(spans)].add(row["category_id"])
    return {
        image: [frozenset(by_span[span]) for span in sorted(by_span)] for image, by_span in categories.items()
    }


def _hull(spans: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return (begin of the first, end of the last) of several spans."""
    return min(begin for begin, _ in spans), max(end for _, end in spans)


def _make_phrase(caption: str, begin: int, end: int) -> Phrase:
    text = caption[begin:end]
    return Phrase(
        begin=begin, end=end, text=text, root=text.split()[-1] if text.split() else text, kind="given"
    )
