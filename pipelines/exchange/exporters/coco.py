"""COCO detection JSON. Boxes are xywh pixels of the upright stored image.

The file is also an MDETR-style grounding file: images have their caption, annotations their `tokens_positive` in code
points of it. So one file serves detection tools and grounding trainers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import numpy as np

from pipelines.exchange.exporter import EncodedFile, ExportedRows, Exporter
from pipelines.exchange.gold.source_ids import read_source_ids
from pipelines.exchange.image_names import quote_unsafe, shortest_suffixes
from pipelines.labels.fates import LabelRow, is_kept
from schemas.ledger import bare_url
from student.evaluate.gold.view import IMAGE_IDS
from student.gold.coco.types import CocoId
from student.gold.ids import id_text, parse_id

if TYPE_CHECKING:
    from pipelines.labels.open_any import Labels
    from schemas.rows import PhraseRow, RegionRow

Categories = Literal["root", "object"]


class CocoImage(TypedDict):
    """One image of the file. `shard` is removed when the files are named."""

    id: CocoId
    shard: NotRequired[str]
    file_name: str
    width: int
    height: int
    caption: str
    sha256: str


class CocoAnnotation(TypedDict):
    """One annotation of the file. `root` is replaced by `category_id`."""

    id: CocoId | None
    image_id: CocoId
    root: NotRequired[str]
    bbox: list[float]
    area: float
    iscrowd: int
    score: float
    phrase: str
    tokens_positive: list[list[int | None]]
    category_id: NotRequired[CocoId]


class CocoCategory(TypedDict):
    """One category of the file."""

    id: CocoId
    name: str


class CocoJson(TypedDict):
    """The whole file."""

    info: dict[str, object]
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def encode_coco(labels: Labels, rows: ExportedRows) -> EncodedFile:
    """Encode rows as COCO JSON. `info` names the labels by their digest. Imported gold keeps the ids of its file."""
    return encode_json(make_coco(rows, ids=find_source_ids(labels)), labels)


def encode_json(coco: CocoJson, labels: Labels) -> EncodedFile:
    """Encode a COCO file; `info` says where its labels come from."""
    coco["info"] = {"description": f"groundswell {labels.kind}", "digest": labels.digest, **labels.provenance}
    return EncodedFile(json.dumps(coco, ensure_ascii=False).encode("utf-8"), len(coco["categories"]))


@dataclass(frozen=True)
class SourceIds:
    """The ids that images, categories and boxes had in an imported file; empty for other labels.

    images:      for each row; empty unless all are known and differ
    categories:  by name
    annotations: for each row, of each region; empty unless all are known and differ
    """

    images: Sequence[CocoId] = ()
    categories: Mapping[str, CocoId] = field(default_factory=dict)
    annotations: Sequence[Sequence[CocoId | None]] = ()


def find_source_ids(labels: Labels) -> SourceIds:
    """Return the ids of an imported file that the labels keep."""
    if labels.kind == "evidence":
        return SourceIds()
    metas = [json.loads(row["meta"] or "{}") for row in labels.rows()]
    images: list[CocoId] = [next((meta[name] for name in IMAGE_IDS if name in meta), "") for meta in metas]
    boxes = list(read_source_ids(labels.url, labels.digest, labels.storage))
    flat = [one for row in boxes for one in row]
    categories = {
        name: parse_id(text) for text, name in reversed(labels.provenance.get("category_ids", {}).items())
    }
    return SourceIds(images if _are_known(images) else (), categories, boxes if _are_known(flat) else ())


def _are_known(ids: Sequence[object]) -> bool:
    texts = {id_text(one) for one in ids}
    return None not in texts and len(texts) == len(ids)


def make_coco(
    rows: Iterable[LabelRow], *, categories: Categories = "root", ids: SourceIds = SourceIds()
) -> CocoJson:
    """Return the COCO file of rows. Ids of the imported file stay; without them image and annotation ids count from 1.

    A category is the lemma of a phrase's head noun ("root"), or one "object" for all, as in MDETR. Images without a
    region are included, because for a detector they are background. A region with fate `ignore` becomes `iscrowd: 1`.
    """
    images: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for place, row in enumerate(rows):
        image = _make_image(row, ids.images[place] if ids.images else place + 1)
        images.append(image)
        own = ids.annotations[place] if ids.annotations else []
        for number, region in enumerate(row["regions"]):
            phrase = row["phrases"][region["phrase"]]
            name = own[number] if len(own) == len(row["regions"]) else len(annotations) + 1
            annotations.append(_make_annotation(region, phrase, image["id"], name))
    names = sorted({_category(a, categories) for a in annotations}) or ["object"]
    number_of = _number_categories(names, ids.categories)
    for annotation in annotations:
        annotation["category_id"] = number_of[_category(annotation, categories)]
        del annotation["root"]
    _name_files(images)
    listed: list[CocoCategory] = [{"id": position, "name": name} for name, position in number_of.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": listed}


def _number_categories(names: Sequence[str], known: Mapping[str, CocoId]) -> dict[str, CocoId]:
    """Return the id of each name: those of the imported file with all of its categories, else numbers from 1."""
    if known and set(names) <= known.keys():
        return dict(known)
    return {name: position for position, name in enumerate(names, start=1)}


def _make_image(row: LabelRow, number: CocoId) -> CocoImage:
    return {
        "id": number,
        "shard": bare_url(row["shard"]),
        "file_name": row["key"],
        "width": row["width"],
        "height": row["height"],
        "caption": row["caption"],
        "sha256": row["image_sha256"],
    }


def _make_annotation(
    region: RegionRow, phrase: PhraseRow, image: CocoId, number: CocoId | None
) -> CocoAnnotation:
    x0, y0 = region["x0"], region["y0"]
    width, height = region["x1"] - x0, region["y1"] - y0
    return {
        "id": number,
        "image_id": image,
        "root": phrase["root"],
        "bbox": [_shorten(value) for value in (x0, y0, width, height)],
        "area": _shorten(width * height),
        "iscrowd": int(not is_kept(region)),
        "score": _shorten(region["score"]),
        "phrase": phrase["text"],
        "tokens_positive": [[phrase["begin"], phrase["end"]]],
    }


def _shorten(value: float) -> float:
    """Return the shortest decimal that is the same float32: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))


def _category(annotation: CocoAnnotation, categories: Categories) -> str:
    return annotation["root"] if categories == "root" else "object"


def _name_files(images: list[CocoImage]) -> None:
    """Set each `file_name` to SHARD/KEY, with the shortest URL suffix that identifies the shard.

    Keys come from strangers, and other tools join `file_name` to a folder. A key that could lead out of it is quoted.
    """
    suffix = shortest_suffixes({image["shard"] for image in images})
    for image in images:
        image["file_name"] = f"{suffix[image.pop('shard')]}/{quote_unsafe(image['file_name'])}"


ENTRY = Exporter(
    "COCO",
    encode_coco,
    ignore_mark="iscrowd",
)
