"""Labels as COCO JSON, and human COCO boxes as gold rows.

Its promise: what the form cannot hold is counted, never dropped in silence. Boxes are xywh pixels of the upright
stored image. The export is also an MDETR-style grounding file: images carry their caption, annotations their
`tokens_positive` in code points of it, so one file serves detection tools and grounding trainers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from pydantic import Field

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from engine.storage.store import open_store
from pipelines.labels.fates import is_kept, kept_regions
from pipelines.labels.open_any import open_labels
from pipelines.labels.tables import Report, Table
from schemas.ledger import bare_url

Categories = Literal["root", "object"]

CANNOT_HOLD: dict[str, str] = {
    "decoy_regions": "regions of phrases that are not in the caption",
    "class_only_regions": "regions whose class is believed and whose box is not",
    "phrases_without_region": "phrases that were asked for and have no box here (unresolved, absent or unseen)",
    "dropped_phrases": "phrases that were not asked for, with their reason",
    "rejected_samples": "samples without labels, with their reason",
    "weights": "regions with a weight other than 1",
    "beliefs": "regions with a calibrated probability or q-value",
    "parts_of_score": "regions with a class score or a quality of their own",
}


class ExportReport(Report):
    """What a COCO file holds, and how much of the labels it cannot hold."""

    images: int = Field(ge=0)
    images_without_region: int = Field(ge=0, description="images without an annotation that is a label")
    annotations: int = Field(ge=0, description="all that are written, those to ignore too")
    categories: int = Field(ge=0)
    cannot_hold: dict[str, int] = Field(
        description="by kind; meanings in pipelines/exchange/exporters/coco.py"
    )
    ignore: int = Field(0, ge=0, description="annotations that are no labels: iscrowd 1, to be ignored")

    def tables(self) -> list[Table]:
        """The report as tables, in reading order."""
        held = [
            ("images", f"{self.images}"),
            ("images without a region", f"{self.images_without_region}"),
            ("annotations", f"{self.annotations}"),
            ("of these to ignore (iscrowd)", f"{self.ignore}"),
            ("categories", f"{self.categories}"),
        ]
        lost = [(name, str(count), CANNOT_HOLD[name]) for name, count in self.cannot_hold.items()]
        return [
            Table("COCO", ("what", "number"), held),
            Table("what COCO cannot hold", ("what", "number", "meaning"), lost),
        ]


def export_coco(
    url: str, to: str | Path, *, categories: Categories = "root", storage: StorageSettings | None = None
) -> ExportReport:
    """Write the labels (evidence or view) at `url` as one COCO file. Raises NotFoundError when there are none."""
    labels = open_labels(url, storage)
    coco, report = coco_of(labels.rows(), categories=categories, rejected=sum(1 for _ in labels.rejected()))
    coco["info"] = {"description": f"groundswell {labels.kind}", "digest": labels.digest, **labels.provenance}
    folder, _, name = absolute_url(str(to)).rpartition("/")
    open_store(folder or "/", storage).put(name, json.dumps(coco, ensure_ascii=False).encode("utf-8"))
    return report


def coco_of(
    rows: Iterable[dict[str, Any]], *, categories: Categories = "root", rejected: int = 0
) -> tuple[dict[str, Any], ExportReport]:
    """COCO JSON of rows of evidence, view or gold, and its report. Image and annotation ids count from 1.

    A category is the lemma of a phrase's head noun ("root"), or one "object" for all, as MDETR has it. Images without
    a region are in it: to a detector they are background. A region with fate `ignore` becomes `iscrowd: 1`.
    """
    cannot_hold = Counter({"rejected_samples": rejected}) if rejected else Counter()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    empty = ignore = 0
    for row in rows:
        images.append(_image(row, len(images) + 1))
        labels = 0
        for region in row["regions"]:
            phrase = row["phrases"][region["phrase"]]
            if reason := _out_of_form(region, phrase):
                cannot_hold[reason] += 1
                continue
            annotations.append(_annotation(region, phrase, len(images), len(annotations) + 1))
            cannot_hold.update(_lost_fields(region))
            labels += is_kept(region)
            ignore += not is_kept(region)
        empty += not labels
        cannot_hold.update(_lost_phrases(row))
    names = sorted({_category(a, categories) for a in annotations}) or ["object"]
    number = {name: position for position, name in enumerate(names, start=1)}
    for annotation in annotations:
        annotation["category_id"] = number[_category(annotation, categories)]
        del annotation["root"]
    _name_files(images)
    coco = {"info": {}, "images": images, "annotations": annotations}
    coco["categories"] = [{"id": position, "name": name} for name, position in number.items()]
    report = ExportReport(
        images=len(images),
        images_without_region=empty,
        annotations=len(annotations),
        categories=len(names),
        ignore=ignore,
        cannot_hold={name: count for name, count in sorted(cannot_hold.items()) if count},
    )
    return coco, report


def _image(row: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "id": number,
        "shard": bare_url(row["shard"]),
        "file_name": row["key"],
        "width": row["width"],
        "height": row["height"],
        "caption": row["caption"],
        "sha256": row["image_sha256"],
    }


def _annotation(region: dict[str, Any], phrase: dict[str, Any], image: int, number: int) -> dict[str, Any]:
    x0, y0 = region["x0"], region["y0"]
    width, height = region["x1"] - x0, region["y1"] - y0
    return {
        "id": number,
        "image_id": image,
        "root": phrase["root"],
        "bbox": [_plain(value) for value in (x0, y0, width, height)],
        "area": _plain(width * height),
        "iscrowd": int(not is_kept(region)),
        "score": _plain(region["score"]),
        "phrase": phrase["text"],
        "tokens_positive": [[phrase["begin"], phrase["end"]]],
    }


def _plain(value: float) -> float:
    """The shortest decimal that is the same float32: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))


def _category(annotation: dict[str, Any], categories: Categories) -> str:
    return annotation["root"] if categories == "root" else "object"


def _out_of_form(region: dict[str, Any], phrase: dict[str, Any]) -> str | None:
    if phrase["kind"] == "decoy":
        return "decoy_regions"
    return "class_only_regions" if region.get("fate") == "class_only" else None


def _lost_fields(region: dict[str, Any]) -> Iterator[str]:
    if is_kept(region) and region.get("weight", 1.0) != 1.0:  # that of one to ignore says nothing
        yield "weights"
    if region.get("p_correct") is not None or region.get("q_value") is not None:
        yield "beliefs"
    if region["class_score"] is not None or region["quality"] is not None:
        yield "parts_of_score"


def _lost_phrases(row: dict[str, Any]) -> Counter[str]:
    seen = {region["phrase"] for region in kept_regions(row)}
    without = len(row["phrases"]) - len(seen)
    return Counter(phrases_without_region=without, dropped_phrases=len(row["dropped_phrases"] or ()))


def _name_files(images: list[dict[str, Any]]) -> None:
    """`file_name` becomes SHARD/KEY with the shortest URL suffix that names each shard alone.

    Keys come from strangers, and other tools join `file_name` to a folder: a key that could lead out of it is quoted.
    """
    suffix = shortest_suffixes({image["shard"] for image in images})
    for image in images:
        image["file_name"] = f"{suffix[image.pop('shard')]}/{_harmless(image['file_name'])}"


def _harmless(key: str) -> str:
    leads_out = key.startswith("/") or "\\" in key or any(part in ("", ".", "..") for part in key.split("/"))
    if not leads_out and not re.search(r"[\x00-\x1f\x7f:]", key):
        return key
    return quote(key, safe="").replace(".", "%2E")


def shortest_suffixes(urls: set[str]) -> dict[str, str]:
    """For each URL its fewest last path parts that no other URL ends in; the whole URL where all are shared."""
    ends = Counter(
        "/".join(parts[-n:]) for parts in (url.split("/") for url in urls) for n in range(1, len(parts) + 1)
    )
    return {url: next((end for end in _ends_of(url) if ends[end] == 1), url) for url in sorted(urls)}


def _ends_of(url: str) -> Iterator[str]:
    parts = url.split("/")
    return ("/".join(parts[-n:]) for n in range(1, len(parts) + 1))
