"""Human gold as COCO JSON, also with captions and `tokens_positive` (the MDETR style), checked when it is read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ConfigError, NotFoundError
from schemas.records import Phrase
from student.evaluate.gold.check import check_coco
from student.evaluate.gold.ids import with_whole_ids
from student.evaluate.gold.view import coco_of_gold

LVIS_GROUPS = {"r": "rare", "c": "common", "f": "frequent"}


def read_json(path: Path) -> Any:
    """The JSON of a file. Raises NotFoundError and ConfigError with line and column."""
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigError(error.msg, where=f"{path}:{error.lineno}:{error.colno}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"no JSON text: {error}", where=str(path)) from error


def read_gold(path: Path) -> dict[str, Any]:
    """A COCO instances object from a file, or from a folder of imported gold. Raises ConfigError, NotFoundError."""
    if path.is_dir():
        return coco_of_gold(str(path))
    gold = with_whole_ids(read_json(path))
    check_coco(gold, path)
    for image in gold["images"]:
        if "file_name" not in image and isinstance(image.get("coco_url"), str):
            # LVIS names its images by URL alone
            image["file_name"] = "/".join(image["coco_url"].split("/")[-2:])
    return dict(gold)


def of_images(gold: Mapping[str, Any], image_ids: Collection[Any]) -> dict[str, Any]:
    """The gold of these images alone."""
    return {
        "categories": gold["categories"],
        "images": [image for image in gold["images"] if image["id"] in image_ids],
        "annotations": [row for row in gold["annotations"] if row["image_id"] in image_ids],
    }


def category_groups(gold: Mapping[str, Any], field: str) -> dict[str, list[int]]:
    """Category ids by the value of a category field, e.g. LVIS's `frequency`; empty where no category has it."""
    groups: dict[str, list[int]] = defaultdict(list)
    for category in gold["categories"]:
        if field in category:
            value = str(category[field])
            groups[LVIS_GROUPS.get(value, value)].append(category["id"])
    return dict(groups)


def gold_phrases(gold: Mapping[str, Any]) -> tuple[dict[Any, list[Phrase]], dict[Any, list[np.ndarray]]]:
    """By image id: the phrases that annotations name in the caption, and the gold boxes [n, 4] xyxy of each.

    A phrase of several spans is asked for as the stretch from the first to the last; crowds are left out.
    """
    captions = {image["id"]: image["caption"] for image in gold["images"] if image.get("caption")}
    boxes: dict[Any, dict[tuple[int, int], list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in gold["annotations"]:
        spans = row.get("tokens_positive")
        if spans and row["image_id"] in captions and not row.get("iscrowd"):
            x, y, w, h = row["bbox"]
            boxes[row["image_id"]][_stretch(spans)].append([x, y, x + w, y + h])
    phrases = {
        image: [_phrase(captions[image], begin, end) for begin, end in sorted(stretches)]
        for image, stretches in boxes.items()
    }
    return phrases, {
        image: [np.array(stretches[key]) for key in sorted(stretches)] for image, stretches in boxes.items()
    }


def phrase_categories(gold: Mapping[str, Any]) -> dict[Any, list[frozenset[Any]]]:
    """By image id: for each phrase of `gold_phrases`, in its order, the categories of its boxes."""
    captioned = {image["id"] for image in gold["images"] if image.get("caption")}
    found: dict[Any, dict[tuple[int, int], set[Any]]] = defaultdict(lambda: defaultdict(set))
    for row in gold["annotations"]:
        spans = row.get("tokens_positive")
        if spans and row["image_id"] in captioned and not row.get("iscrowd"):
            found[row["image_id"]][_stretch(spans)].add(row["category_id"])
    return {
        image: [frozenset(stretches[key]) for key in sorted(stretches)] for image, stretches in found.items()
    }


def _stretch(spans: Sequence[Sequence[int]]) -> tuple[int, int]:
    """From the first character to the last of a phrase of several spans."""
    return min(begin for begin, _ in spans), max(end for _, end in spans)


def _phrase(caption: str, begin: int, end: int) -> Phrase:
    text = caption[begin:end]
    return Phrase(
        begin=begin, end=end, text=text, root=text.split()[-1] if text.split() else text, kind="given"
    )
