"""Human COCO boxes as gold: rows of a view's form, one per image.

Its promise: every annotation becomes a region or is counted. Detection gold has no caption, so a row's caption is
the list of the categories that were looked for: those with a box are positive, those with only a crowd unresolved, the
others absent. That is all categories in COCO; where `neg_category_ids` is given (LVIS), those alone are known to
be absent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from engine.filesystems import absolute_url
from engine.settings import StorageSettings
from engine.storage import open_store
from schemas.digests import canonical_json, digest_of, sha256_hex
from schemas.errors import GroundswellError
from schemas.ledger import unit_name

SEPARATOR = ". "  # between the categories of a detection prompt, as GLIP writes them


class CocoGold:
    """COCO ground truth, read as gold rows.

    `left_out` counts annotations without area in the image, by reason; `clipped` those that reached beyond it.
    """

    def __init__(self, coco: dict[str, Any], images_url: str, storage: StorageSettings | None = None) -> None:
        """coco: the parsed JSON; images_url: folder or URL under which `file_name` is found.

        Raises GroundswellError for an annotation of an unknown image or category.
        """
        self._coco = coco
        self._images_url = absolute_url(images_url)
        self._store = open_store(images_url, storage)
        self._names = {category["id"]: category["name"] for category in coco["categories"]}
        self._boxes: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        self.left_out: Counter[str] = Counter()
        self.clipped = 0
        self._read_annotations()

    @property
    def provenance(self) -> dict[str, Any]:
        """What a gold view's manifest says of its origin."""
        return {
            "format": "coco",
            "source_digest": digest_of(
                {name: self._coco[name] for name in ("images", "annotations", "categories")}
            ),
            "left_out": dict(self.left_out),
            "clipped": self.clipped,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per image in the file's order. Reads each image once, for its digest. Raises NotFound."""
        unit = unit_name(self._images_url, 0)
        for index, image in enumerate(self._coco["images"]):
            asked = self._asked(image)
            caption, phrases = _prompt([self._names[c] for c in asked])
            number = {category: position for position, category in enumerate(asked)}
            regions = [{**box, "phrase": number[box["phrase"]]} for box in self._boxes[image["id"]]]
            for region in sorted(regions, key=lambda region: region["fate"] == "positive"):
                # only a crowd: the category is there, but not as a box to learn from
                phrases[region["phrase"]]["fate"] = (
                    "positive" if region["fate"] == "positive" else "unresolved"
                )
            yield {
                **self._sample(image, unit, index),
                "caption": caption,
                "phrases": phrases,
                "regions": regions,
            }

    def _read_annotations(self) -> None:
        images = {image["id"]: image for image in self._coco["images"]}
        for annotation in self._coco["annotations"]:
            image = images.get(annotation["image_id"])
            if image is None or annotation["category_id"] not in self._names:
                raise GroundswellError(
                    f"annotation {annotation['id']} names image {annotation['image_id']} and category "
                    f"{annotation['category_id']}: one of them is not in the file"
                )
            region = self._region(annotation, image)
            if region is None:
                self.left_out["no_area_in_image"] += 1
            else:
                self._boxes[image["id"]].append(region)

    def _region(self, annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any] | None:
        x, y, width, height = annotation["bbox"]
        x0, x1 = max(x, 0.0), min(x + width, float(image["width"]))
        y0, y1 = max(y, 0.0), min(y + height, float(image["height"]))
        if x0 >= x1 or y0 >= y1:
            return None
        self.clipped += (x0, y0) != (x, y) or (x1, y1) != (x + width, y + height)
        return {
            "phrase": annotation["category_id"],
            **{"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": 1.0, "weight": 1.0},
            "pass_index": 0,
            "fate": "ignore" if annotation.get("iscrowd") else "positive",
            "origin": "human",
        }

    def _asked(self, image: dict[str, Any]) -> list[int]:
        if "neg_category_ids" not in image:
            return sorted(self._names)
        present = {box["phrase"] for box in self._boxes[image["id"]]}
        return sorted(present | set(image["neg_category_ids"]))

    def _sample(self, image: dict[str, Any], unit: str, index: int) -> dict[str, Any]:
        name = image["file_name"]
        return {
            "unit": unit,
            "shard": self._images_url,
            "index": index,
            "key": PurePosixPath(name).stem,
            "pixels": {"url": f"{self._images_url}/{name}"},
            "image_sha256": sha256_hex(self._store.read(name)),
            "source_url": image.get("coco_url"),
            "meta": canonical_json({"coco_image_id": image["id"]}).decode(),
            "width": image["width"],
            "height": image["height"],
            "exif_orientation": 1,
            "dropped_phrases": [],
        }


def gold_from_coco(coco: dict[str, Any], images_url: str, storage: StorageSettings | None = None) -> CocoGold:
    """COCO detection ground truth as gold: `.rows()` for `write_view(kind="gold")`, `.provenance` beside them."""
    return CocoGold(coco, images_url, storage)


def _prompt(names: list[str]) -> tuple[str, list[dict[str, Any]]]:
    """The caption that lists the names, and a phrase with its exact span for each."""
    phrases = []
    begin = 0
    for name in names:
        span = {"begin": begin, "end": begin + len(name), "text": name, "root": name, "kind": "given"}
        phrases.append({**span, "groundable": True, "truncated": False, "fate": "absent"})
        begin += len(name) + len(SEPARATOR)
    return SEPARATOR.join(names), phrases
