"""Convert gold in the form of a view to COCO, so that imported gold of any format can be evaluated on.

A row whose caption lists its phrases is a detection row: its phrases are categories. Any other row has a caption, and
its phrases are asked for too. Images and categories have the ids of the imported file, so results for that file match.
If the id of a category is unknown, its name is its id, which cannot be confused with a number. Areas are those of
boxes, since gold has no masks (COCO separates small from large objects by the area of the mask). If a refused box made
a class unknown, the whole image is a crowd region of the class: a detection there is neither right nor wrong.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence

from engine.views import open_view
from schemas.errors import ConfigError
from schemas.rows import ViewRow, rows_of
from schemas.spans import is_detection_caption
from student.gold.coco.types import (
    CocoId,
    GoldAnnotation,
    GoldCategory,
    GoldDataset,
    GoldImage,
)
from student.gold.ids import id_text, parse_id

IMAGE_IDS = ("coco_image_id", "mdetr_image_id", "image_id")
"""Fields of a row's `meta` with the image's id in the imported file, of which a row has at most one."""
UNKNOWN_SIDE = 1_000_000  # px, of an image whose size is not known


def read_gold_view(url: str) -> GoldDataset:
    """Return imported gold as COCO: images (with the location of their `pixels`), categories, annotations xywh.

    `exhaustive` is as the gold says. `categories_by_name` says that the ids of the categories are their names.

    raises: ConfigError for a view (a teacher's labels are no truth) and for gold that its import marked as unusable;
            NotFoundError, ConflictError as `open_view`
    """
    view = open_view(url)
    if view.manifest.kind != "gold":
        raise ConfigError(
            f"{url} is a view of a teacher's labels: a model is measured on human gold; give gold instead"
        )
    provenance = view.manifest.provenance
    if problems := provenance.get("problems"):
        raise ConfigError(f"{url} cannot be measured on: {'; '.join(problems)}")
    exhaustive = bool(provenance.get("exhaustive", True))
    rows = [row for table in view.tables() for row in rows_of(table, ViewRow)]
    names = sorted({phrase["root"] for row in rows for phrase in row["phrases"]})
    source_ids = _find_source_ids(provenance.get("category_ids"), names)
    ids: dict[str, CocoId] = {name: parse_id(source_ids[name][0]) if source_ids else name for name in names}
    images = _image_ids(rows)
    facts = provenance.get("facts", {})
    federated = bool(facts.get("federated")) and all(map(is_detection_row, rows))
    annotations = [box for image, row in zip(images, rows) for box in _annotations(row, image, ids)]
    if exhaustive:
        unasked = set(provenance.get("questionable_names", {}))
        annotations += [
            box for image, row in zip(images, rows) for box in _unknown_classes(row, image, ids, unasked)
        ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return {
        "images": [_make_image(row, image, ids, federated) for image, row in zip(images, rows)],
        "categories": _categories(ids, source_ids, facts.get("frequency", {})),
        "annotations": annotations,
        "exhaustive": exhaustive,
        "categories_by_name": not source_ids,
    }


def _find_source_ids(known: object, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids, as text, that each category had in the imported file; empty if one of them is unknown.

    known: the account of the import: names of categories by the text of their ids
    """
    source_ids: dict[str, list[str]] = {name: [] for name in names}
    for text, name in (known if isinstance(known, dict) else {}).items():
        if name in source_ids:
            source_ids[name].append(text)
    return source_ids if all(source_ids.values()) else {}


def _image_ids(rows: Sequence[ViewRow]) -> list[CocoId]:
    """Return the ids that the images had in the imported file, or the row numbers if it had none."""
    metas = [json.loads(row["meta"] or "{}") for row in rows]
    texts = [id_text(next((meta[name] for name in IMAGE_IDS if name in meta), None)) for meta in metas]
    known = [text for text in texts if text is not None]
    if len(set(known)) < len(rows):
        return list(range(len(rows)))
    return [parse_id(text) for text in known]


def is_detection_row(row: ViewRow) -> bool:
    """Return whether the caption is the list of the phrases."""
    return is_detection_caption(row["caption"], (phrase["text"] for phrase in row["phrases"]))


def _make_image(row: ViewRow, name: CocoId, ids: Mapping[str, CocoId], federated: bool) -> GoldImage:
    image: GoldImage = {
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
        image["not_exhaustive_category_ids"] = [ids[root] for root in unsure if root in ids]
    if not is_detection_row(row):
        image["caption"] = row["caption"]
    return image


def _annotations(row: ViewRow, image: CocoId, ids: Mapping[str, CocoId]) -> list[GoldAnnotation]:
    has_caption = not is_detection_row(row)
    annotations = []
    for region in row["regions"]:
        phrase = row["phrases"][region["phrase"]]
        width, height = region["x1"] - region["x0"], region["y1"] - region["y0"]
        annotation: GoldAnnotation = {
            "image_id": image,
            "category_id": ids[phrase["root"]],
            "bbox": [region["x0"], region["y0"], width, height],
            "area": width * height,
            "iscrowd": int(region["fate"] == "ignore"),
        }
        if has_caption and phrase["begin"] is not None and phrase["end"] is not None:
            annotation["tokens_positive"] = [[phrase["begin"], phrase["end"]]]
        annotations.append(annotation)
    return annotations


def _unknown_classes(
    row: ViewRow, image: CocoId, ids: Mapping[str, CocoId], unasked: Container[str]
) -> list[GoldAnnotation]:
    """Return a crowd region over the whole image for each class that a refused box made unknown.

    unasked: classes that no row names as absent, whatever was refused
    """
    width, height = row["width"] or UNKNOWN_SIDE, row["height"] or UNKNOWN_SIDE
    partly = json.loads(row["meta"] or "{}").get("not_exhaustive", [])
    boxed = {region["phrase"] for region in row["regions"]}
    return [
        {
            "image_id": image,
            "category_id": ids[phrase["root"]],
            "bbox": [0, 0, width, height],
            "area": width * height,
            "iscrowd": 1,
        }
        for number, phrase in enumerate(row["phrases"])
        if phrase["fate"] == "unresolved"
        and (phrase["root"] in partly or (number not in boxed and phrase["root"] not in unasked))
    ]


def _categories(
    ids: Mapping[str, CocoId],
    source_ids: Mapping[str, Sequence[str]],
    frequency: Mapping[str, Sequence[str]],
) -> list[GoldCategory]:
    """Return the categories in the order of their names.

    source_ids: added to a category if several of the file became one
    frequency:  names by LVIS's letter for their frequency
    """
    letters = {name: letter for letter, names in frequency.items() for name in names}
    categories = []
    for name, number in ids.items():
        category: GoldCategory = {"id": number, "name": name}
        if name in letters:
            category["frequency"] = letters[name]
        if len(source_ids.get(name, ())) > 1:
            category["source_ids"] = list(source_ids[name])
        categories.append(category)
    return categories
