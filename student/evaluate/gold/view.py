"""Gold in the view's form, as the COCO object that evaluation reads: imported gold of any format can be measured on.

A row whose caption lists its phrases is a detection row: its phrases are categories. Any other row has a caption, whose
phrases are asked for, too. Images and categories have the ids of the imported file, so results for that file join. A
category whose id is not known goes by its name, which no number is mistaken for. Areas are those of boxes: gold holds
no mask, by whose area COCO tells small from large. Where a refused box made a class unknown, the image is a crowd
region of it: a detection there is neither right nor wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.views import open_view
from schemas.errors import ConfigError
from student.evaluate.gold.ids import id_of_text, id_text
from student.settings.prompt_text import SEPARATOR


def coco_of_gold(url: str) -> dict[str, Any]:
    """Images (with `pixels` where they lie), categories, annotations xywh; `exhaustive` as the gold says.

    `categories_by_name` says that the ids of the categories are their names.

    raises: ConfigError for a view (what a teacher found is no truth) and for gold that its import found unusable;
            NotFound, Conflict as `open_view`
    """
    view = open_view(url)
    if view.manifest.kind != "gold":
        raise ConfigError(f"{url} is a view of a teacher's labels: a model is measured on human gold")
    known = view.manifest.provenance
    if problems := known.get("problems"):
        raise ConfigError(f"{url} cannot be measured on: {'; '.join(problems)}")
    exhaustive = bool(known.get("exhaustive", True))
    rows = list(view.rows())
    names = sorted({phrase["root"] for row in rows for phrase in row["phrases"]})
    source_ids = _source_ids(known.get("category_ids"), names)
    ids: dict[str, int | str] = {
        name: id_of_text(source_ids[name][0]) if source_ids else name for name in names
    }
    images = _image_ids(rows)
    facts = known.get("facts", {})
    federated = bool(facts.get("federated")) and all(map(is_detection_row, rows))
    annotations = [box for image, row in zip(images, rows) for box in _annotations(row, image, ids)]
    if exhaustive:
        annotations += [box for image, row in zip(images, rows) for box in _unknown_classes(row, image, ids)]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return {
        "images": [_image(row, image, ids, federated) for image, row in zip(images, rows)],
        "categories": _categories(ids, source_ids, facts.get("frequency", {})),
        "annotations": annotations,
        "exhaustive": exhaustive,
        "categories_by_name": not source_ids,
    }


def _source_ids(known: Any, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids, as text, that each category had in the imported file; empty where one of them is not known."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for text, name in (known if isinstance(known, dict) else {}).items():
        if name in found:
            found[name].append(text)
    return found if all(found.values()) else {}


def _image_ids(rows: Sequence[Mapping[str, Any]]) -> list[int | str]:
    """Return the ids that the images had in the imported file; the rows' numbers where it gave them none."""
    metas = [json.loads(row["meta"] or "{}") for row in rows]
    texts = [id_text(meta.get("coco_image_id", meta.get("mdetr_image_id"))) for meta in metas]
    known = [text for text in texts if text is not None]
    if len(set(known)) < len(rows):
        return list(range(len(rows)))
    return [id_of_text(text) for text in known]


def is_detection_row(row: Mapping[str, Any]) -> bool:
    """Whether the caption is the list of the phrases."""
    return bool(row["caption"] == SEPARATOR.join(phrase["text"] for phrase in row["phrases"]))


def _image(
    row: Mapping[str, Any], name: int | str, ids: Mapping[str, int | str], federated: bool
) -> dict[str, Any]:
    image = {
        "id": name,
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


def _annotations(
    row: Mapping[str, Any], image: int | str, ids: Mapping[str, int | str]
) -> list[dict[str, Any]]:
    told = not is_detection_row(row)
    found = []
    for region in row["regions"]:
        phrase = row["phrases"][region["phrase"]]
        width, height = region["x1"] - region["x0"], region["y1"] - region["y0"]
        annotation = {
            "image_id": image,
            "category_id": ids[phrase["root"]],
            "bbox": [region["x0"], region["y0"], width, height],
            "area": width * height,
            "iscrowd": int(region["fate"] == "ignore"),
        }
        found.append(
            {**annotation, "tokens_positive": [[phrase["begin"], phrase["end"]]]} if told else annotation
        )
    return found


def _unknown_classes(
    row: Mapping[str, Any], image: int | str, ids: Mapping[str, int | str]
) -> list[dict[str, Any]]:
    """Return a crowd region over the whole image for each class of which a refused box leaves nothing known."""
    partly = json.loads(row["meta"] or "{}").get("not_exhaustive", [])
    boxed = {region["phrase"] for region in row["regions"]}
    box = {
        "bbox": [0, 0, row["width"], row["height"]],
        "area": (row["width"] or 0) * (row["height"] or 0),
        "iscrowd": 1,
    }
    return [
        {"image_id": image, "category_id": ids[phrase["root"]], **box}
        for number, phrase in enumerate(row["phrases"])
        if phrase["fate"] == "unresolved" and (number not in boxed or phrase["root"] in partly)
        if row["width"] and row["height"]
    ]


def _categories(
    ids: Mapping[str, int | str],
    source_ids: Mapping[str, Sequence[str]],
    frequency: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """Return the categories in the order of their names; `source_ids` where several of the file became one."""
    letters = {name: letter for letter, some in frequency.items() for name in some}
    found = []
    for name, number in ids.items():
        category: dict[str, Any] = {"id": number, "name": name}
        if name in letters:
            category["frequency"] = letters[name]
        if len(source_ids.get(name, ())) > 1:
            category["source_ids"] = list(source_ids[name])
        found.append(category)
    return found
