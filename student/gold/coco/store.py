"""Images of a COCO-like file with their annotations, joined on disk. Files list annotations in any order.

Only the ids of images and annotations are in memory. Every image and annotation is either returned once or refused in
the account.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TypeAlias

from pydantic import JsonValue

from schemas.errors import ConfigError
from student.gold import ids
from student.gold.account import ImportAccount, is_encodable
from student.gold.json_stream import Empty, iter_fields

JsonObject: TypeAlias = dict[str, JsonValue]

_IMAGE_FIELDS = (
    *("id", "file_name", "width", "height", "coco_url", "license"),
    *("neg_category_ids", "not_exhaustive_category_ids"),
    *("caption", "data_source", "dataset_name", "original_img_id", "sentence_id", "tokens_positive_eval"),
)
_ANNOTATION_FIELDS = (
    *(
        "id",
        "image_id",
        "bbox",
        "category_id",
        "iscrowd",
        "ignore",
        "area",
        "score",
        "tokens_positive",
        "phrase",
    ),
)
_TABLES = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE;
CREATE TABLE image (place INTEGER PRIMARY KEY, id TEXT, record TEXT);
CREATE TABLE annotation (place INTEGER PRIMARY KEY, image TEXT, record TEXT);
"""


class CocoStore:
    """A COCO-like file, read once. `rest` has its small parts (categories, licenses)."""

    def __init__(self, path: Path, account: ImportAccount) -> None:
        """Read the file. Raises NotFoundError; ConfigError for a file without lists of images and annotations."""
        self._account = account
        for kind in ("images", "annotations"):
            account.count(kind, 0)
        self.rest: dict[str, list[JsonValue]] = {"categories": [], "licenses": []}
        self.without_image: set[str | None] = set()  # category ids (None: unreadable) of such annotations
        self.image_fields: set[str] = set()  # those that any image has
        self.annotation_fields: set[str] = set()  # those that any annotation has
        self.annotated_ids: set[str] = set()  # ids of images that annotations name
        self._known: set[str] = set()
        self._annotation_ids: set[str] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="groundswell-gold-")
        self._database = sqlite3.connect(Path(self._folder.name) / "file.sqlite")
        self._database.executescript(_TABLES)
        try:
            self._read_file(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CocoStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the temporary database."""
        self._database.close()
        self._folder.cleanup()

    @property
    def image_ids(self) -> Set[str]:
        """The ids of all images, as text."""
        return self._known

    def images(self) -> Iterator[tuple[JsonObject, list[JsonObject]]]:
        """Yield each image in the order of the file, with its annotations.

        At the end, refuse annotations of unknown images.
        """
        yield from self.pairs()
        orphans = (
            "SELECT record FROM annotation WHERE image NOT IN (SELECT id FROM image WHERE id IS NOT NULL)"
        )
        for (record,) in self._database.execute(orphans):
            annotation = json.loads(record)
            self._account.refuse(
                "annotations", annotation.get("id"), "image_unknown", f"image {annotation.get('image_id')!r}"
            )

    def pairs(self) -> Iterator[tuple[JsonObject, list[JsonObject]]]:
        """Yield each image in the order of the file, with its annotations."""
        for _place, name, record in self._database.execute(
            "SELECT place, id, record FROM image ORDER BY place"
        ):
            yield json.loads(record), self._load_annotations(name)

    def _load_annotations(self, image: str) -> list[JsonObject]:
        rows = self._database.execute(
            "SELECT record FROM annotation WHERE image = ? ORDER BY place", (image,)
        )
        return [json.loads(record) for (record,) in rows]

    def _read_file(self, path: Path) -> None:
        seen = set()
        for section, item in iter_fields(path):
            seen.add(section)
            if isinstance(item, Empty):
                continue
            if section == "images":
                self._add_image(item)
            elif section == "annotations":
                self._add_annotation(item)
            elif section in self.rest:
                self.rest[section].append(item)
        if not {"images", "annotations"} <= seen:
            raise ConfigError(
                f"{path}: expected an object with images and annotations, found {sorted(seen)[:8]}"
            )
        self._database.execute("CREATE INDEX of_image ON annotation (image)")
        self._database.execute("CREATE INDEX image_id ON image (id)")

    def _add_image(self, item: JsonValue) -> None:
        self._account.count("images")
        name = id_text(item.get("id")) if isinstance(item, dict) else None
        if name is None or not isinstance(item, dict):
            self._account.refuse("images", "an image", "field_missing", f"no id: {str(item)[:80]}")
            return
        kept = {field: item[field] for field in _IMAGE_FIELDS if field in item}
        if not is_encodable(kept):
            self._account.refuse("images", name, "value_bad")
            return
        if name in self._known:
            self._account.refuse("images", name, "id_twice")
            return
        self._known.add(name)
        self.image_fields |= kept.keys()
        self._database.execute("INSERT INTO image (id, record) VALUES (?, ?)", (name, json.dumps(kept)))

    def _add_annotation(self, item: JsonValue) -> None:
        self._account.count("annotations")
        image = id_text(item.get("image_id")) if isinstance(item, dict) else None
        if image is None or not isinstance(item, dict):
            wrong = "no image_id" if isinstance(item, dict) else "expected a list of annotations, found"
            self._account.refuse("annotations", "one", "field_missing", f"{wrong}: {json.dumps(item)[:80]}")
            self.without_image.add(id_text(item.get("category_id")) if isinstance(item, dict) else None)
            return
        kept = {field: item[field] for field in _ANNOTATION_FIELDS if field in item}
        if not item.get("bbox") and "segmentation" in item:
            kept["segmentation"] = item["segmentation"]  # a mask is large, and of no use beside a box
        if self._is_repeated(item.get("id")):
            kept["id_repeated"] = True
        self.annotation_fields |= kept.keys()
        self.annotated_ids.add(image)
        self._database.execute(
            "INSERT INTO annotation (image, record) VALUES (?, ?)", (image, json.dumps(kept))
        )

    def _is_repeated(self, value: JsonValue) -> bool:
        name = id_text(value)
        if name is None:
            return False
        is_known = name in self._annotation_ids
        self._annotation_ids.add(name)
        return is_known


def id_text(value: JsonValue) -> str | None:
    """Return an id as text, so that 7, 7.0 and "7" are equal. Return None for a value that is not an id."""
    text = ids.id_text(value)
    return text if text is not None and is_encodable(text) else None


def has_same_type(value: JsonValue, other: JsonValue) -> bool:
    """Return whether two ids are written alike: 7 and "7" are not."""
    return type(value) is type(other)
