"""COCO detection JSON. Boxes are xywh pixels of the upright stored image.

The file is also an MDETR-style grounding file: images have their caption, annotations their `tokens_positive` in code
points of it. So one file serves detection tools and grounding trainers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict
from urllib.parse import quote

import numpy as np

from pipelines.exchange.exporter import EncodedFile, ExportedRows, Exporter
from pipelines.labels.fates import LabelRow, is_kept
from schemas.ledger import bare_url

if TYPE_CHECKING:
    from pipelines.labels.open_any import Labels
    from schemas.rows import PhraseRow, RegionRow

Categories = Literal["root", "object"]


class CocoImage(TypedDict):
    """One image of the file. `shard` is removed when the files are named."""

    id: int
    shard: NotRequired[str]
    file_name: str
    width: int
    height: int
    caption: str
    sha256: str


class CocoAnnotation(TypedDict):
    """One annotation of the file. `root` is replaced by `category_id`."""

    id: int
    image_id: int
    root: NotRequired[str]
    bbox: list[float]
    area: float
    iscrowd: int
    score: float
    phrase: str
    tokens_positive: list[list[int | None]]
    category_id: NotRequired[int]


class CocoCategory(TypedDict):
    """One category of the file."""

    id: int
    name: str


class CocoJson(TypedDict):
    """The whole file."""

    info: dict[str, object]
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def encode_coco(labels: Labels, rows: ExportedRows) -> EncodedFile:
    """Encode rows as COCO JSON. `info` names the labels by their digest."""
    return encode_json(make_coco(rows), labels)


def encode_json(coco: CocoJson, labels: Labels) -> EncodedFile:
    """Encode a COCO file; `info` says where its labels come from."""
    coco["info"] = {"description": f"groundswell {labels.kind}", "digest": labels.digest, **labels.provenance}
    return EncodedFile(json.dumps(coco, ensure_ascii=False).encode("utf-8"), len(coco["categories"]))


def make_coco(rows: Iterable[LabelRow], *, categories: Categories = "root") -> CocoJson:
    """Return the COCO file of rows. Image and annotation ids count from 1.

    A category is the lemma of a phrase's head noun ("root"), or one "object" for all, as in MDETR. Images without a
    region are included, because for a detector they are background. A region with fate `ignore` becomes `iscrowd: 1`.
    """
    images: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    for row in rows:
        images.append(_make_image(row, len(images) + 1))
        for region in row["regions"]:
            phrase = row["phrases"][region["phrase"]]
            annotations.append(_make_annotation(region, phrase, len(images), len(annotations) + 1))
    names = sorted({_category(a, categories) for a in annotations}) or ["object"]
    number = {name: position for position, name in enumerate(names, start=1)}
    for annotation in annotations:
        annotation["category_id"] = number[_category(annotation, categories)]
        del annotation["root"]
    _name_files(images)
    listed: list[CocoCategory] = [{"id": position, "name": name} for name, position in number.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": listed}


def _make_image(row: LabelRow, number: int) -> CocoImage:
    return {
        "id": number,
        "shard": bare_url(row["shard"]),
        "file_name": row["key"],
        "width": row["width"],
        "height": row["height"],
        "caption": row["caption"],
        "sha256": row["image_sha256"],
    }


def _make_annotation(region: RegionRow, phrase: PhraseRow, image: int, number: int) -> CocoAnnotation:
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
        image["file_name"] = f"{suffix[image.pop('shard')]}/{_quote_unsafe(image['file_name'])}"


def _quote_unsafe(key: str) -> str:
    leads_out = key.startswith("/") or "\\" in key or any(part in ("", ".", "..") for part in key.split("/"))
    if not leads_out and not re.search(r"[\x00-\x1f\x7f:]", key):
        return key
    return quote(key, safe="").replace(".", "%2E")


def shortest_suffixes(urls: set[str]) -> dict[str, str]:
    """Return for each URL the fewest last path parts that no other URL ends in, or the whole URL."""
    ends = Counter(
        "/".join(parts[-n:]) for parts in (url.split("/") for url in urls) for n in range(1, len(parts) + 1)
    )
    return {url: next((end for end in _suffixes_of(url) if ends[end] == 1), url) for url in sorted(urls)}


def _suffixes_of(url: str) -> Iterator[str]:
    parts = url.split("/")
    return ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))


ENTRY = Exporter(
    "COCO",
    encode_coco,
    ignore_mark="iscrowd",
)
