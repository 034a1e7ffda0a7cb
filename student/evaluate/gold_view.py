"""Gold in the view's form, as the COCO object that evaluation reads: imported gold of any format can be measured on.

A row whose caption lists its phrases is a detection row: its phrases are categories. Any other row has a caption, whose
phrases are asked for, too. Areas are those of boxes: gold holds no mask, by whose area COCO tells small from large.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.views import open_view
from schemas.errors import ConfigError
from student.evaluate.class_prompts import SEPARATOR


def coco_of_gold(url: str) -> dict[str, Any]:
    """Images (with `pixels` where they lie), categories by name, annotations xywh; `exhaustive` as the gold says.

    raises: ConfigError for a view: what a teacher found is no truth; NotFound, Conflict as `open_view`
    """
    view = open_view(url)
    if view.manifest.kind != "gold":
        raise ConfigError(f"{url} is a view of a teacher's labels: a model is measured on human gold")
    known = view.manifest.provenance
    exhaustive = bool(known.get("exhaustive", True))
    rows = list(view.rows())
    names = sorted({phrase["root"] for row in rows for phrase in row["phrases"]})
    ids = {name: number for number, name in enumerate(names, start=1)}
    facts = known.get("facts", {})
    federated = bool(facts.get("federated")) and all(map(is_detection_row, rows))
    annotations = [box for number, row in enumerate(rows) for box in _annotations(row, number, ids)]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return {
        "images": [_image(row, number, ids, federated) for number, row in enumerate(rows)],
        "categories": _categories(names, facts.get("frequency", {})),
        "annotations": annotations,
        "exhaustive": exhaustive,
    }


def is_detection_row(row: Mapping[str, Any]) -> bool:
    """Whether the caption is the list of the phrases."""
    return bool(row["caption"] == SEPARATOR.join(phrase["text"] for phrase in row["phrases"]))


def _image(row: Mapping[str, Any], number: int, ids: Mapping[str, int], federated: bool) -> dict[str, Any]:
    image = {
        "id": number,
        "file_name": row["key"],
        "width": row["width"],
        "height": row["height"],
        "pixels": row["pixels"],
        "image_sha256": row["image_sha256"],
    }
    if federated:
        unsure = json.loads(row["meta"] or "{}").get("not_exhaustive", [])
        image["neg_category_ids"] = [ids[p["root"]] for p in row["phrases"] if p["fate"] == "absent"]
        image["not_exhaustive_category_ids"] = [ids[name] for name in unsure if name in ids]
    return image if is_detection_row(row) else {**image, "caption": row["caption"]}


def _annotations(row: Mapping[str, Any], number: int, ids: Mapping[str, int]) -> list[dict[str, Any]]:
    told = not is_detection_row(row)
    found = []
    for region in row["regions"]:
        phrase = row["phrases"][region["phrase"]]
        width, height = region["x1"] - region["x0"], region["y1"] - region["y0"]
        annotation = {
            "image_id": number,
            "category_id": ids[phrase["root"]],
            "bbox": [region["x0"], region["y0"], width, height],
            "area": width * height,
            "iscrowd": int(region["fate"] == "ignore"),
        }
        found.append(
            {**annotation, "tokens_positive": [[phrase["begin"], phrase["end"]]]} if told else annotation
        )
    return found


def _categories(names: Sequence[str], frequency: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    by_name = {name: letter for letter, some in frequency.items() for name in some}
    return [
        {"id": number, "name": name, **({"frequency": by_name[name]} if name in by_name else {})}
        for number, name in enumerate(names, start=1)
    ]
