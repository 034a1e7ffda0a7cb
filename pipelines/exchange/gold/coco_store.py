"""Images and their annotations from a COCO-like file, brought together on disk: files list annotations in any order.

Promise: of the file only the images' ids are held in memory; every image and annotation is given back once or was
told to the tally.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.exchange.gold.account import Tally, is_standard
from pipelines.exchange.gold.json_stream import EMPTY, fields_of
from schemas.errors import ConfigError
from student.evaluate.gold import ids

_IMAGE_FIELDS = (
    *("id", "file_name", "width", "height", "coco_url", "license"),
    *("neg_category_ids", "not_exhaustive_category_ids"),
    *("caption", "data_source", "dataset_name", "original_img_id", "sentence_id", "tokens_positive_eval"),
)
_ANNOTATION_FIELDS = (
    *("id", "image_id", "bbox", "category_id", "iscrowd", "ignore", "tokens_positive", "phrase"),
)
_TABLES = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE;
CREATE TABLE image (place INTEGER PRIMARY KEY, id TEXT, record TEXT);
CREATE TABLE annotation (place INTEGER PRIMARY KEY, image TEXT, record TEXT);
"""


class CocoFile:
    """A COCO-like file, read once; `rest` holds its small parts (categories, licenses, info)."""

    def __init__(self, path: Path, tally: Tally) -> None:
        """Raises NotFoundError, and ConfigError for a file that holds no such lists."""
        self._tally = tally
        self.rest: dict[str, list[Any]] = {"categories": [], "licenses": []}
        self.without_image: set[str | None] = set()  # category ids (None: unreadable) of such annotations
        self.image_fields: set[str] = set()  # those that any image has
        self._known: set[str] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="groundswell-gold-")
        self._base = sqlite3.connect(Path(self._folder.name) / "file.sqlite")
        self._base.executescript(_TABLES)
        try:
            self._read(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CocoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was spilled."""
        self._base.close()
        self._folder.cleanup()

    def images(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Each image of the file in order, with its annotations in order; then unknown images' annotations are told."""
        for _place, name, record in self._base.execute("SELECT place, id, record FROM image ORDER BY place"):
            yield json.loads(record), self._annotations(name)
        orphans = (
            "SELECT record FROM annotation WHERE image NOT IN (SELECT id FROM image WHERE id IS NOT NULL)"
        )
        for (record,) in self._base.execute(orphans):
            annotation = json.loads(record)
            self._tally.refused(
                "annotations", annotation.get("id"), "image_unknown", f"image {annotation.get('image_id')!r}"
            )

    def _annotations(self, image: str) -> list[dict[str, Any]]:
        rows = self._base.execute("SELECT record FROM annotation WHERE image = ? ORDER BY place", (image,))
        return [json.loads(record) for (record,) in rows]

    def _read(self, path: Path) -> None:
        seen = set()
        for section, item in fields_of(path):
            seen.add(section)
            if item is EMPTY:
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
        self._base.execute("CREATE INDEX of_image ON annotation (image)")
        self._base.execute("CREATE INDEX image_id ON image (id)")

    def _add_image(self, item: Any) -> None:
        self._tally.met("images")
        name = id_text(item.get("id")) if isinstance(item, dict) else None
        if name is None:
            self._tally.refused("images", "an image", "field_missing", f"no id: {str(item)[:80]}")
            return
        kept = {field: item[field] for field in _IMAGE_FIELDS if field in item}
        if not is_standard(kept):
            self._tally.refused("images", name, "value_bad")
            return
        if name in self._known:
            self._tally.refused("images", name, "id_twice")
            return
        self._known.add(name)
        self.image_fields |= kept.keys()
        self._base.execute("INSERT INTO image (id, record) VALUES (?, ?)", (name, json.dumps(kept)))

    def _add_annotation(self, item: Any) -> None:
        self._tally.met("annotations")
        image = id_text(item.get("image_id")) if isinstance(item, dict) else None
        if image is None:
            wrong = "no image_id" if isinstance(item, dict) else "expected a list of annotations, found"
            self._tally.refused("annotations", "one", "field_missing", f"{wrong}: {json.dumps(item)[:80]}")
            self.without_image.add(id_text(item.get("category_id")) if isinstance(item, dict) else None)
            return
        self._base.execute(
            "INSERT INTO annotation (image, record) VALUES (?, ?)",
            (image, json.dumps({field: item[field] for field in _ANNOTATION_FIELDS if field in item})),
        )


def id_text(value: Any) -> str | None:
    """An id as text, so that 7, 7.0 and "7" are one; None for what is no id."""
    text = ids.id_text(value)
    return text if text is not None and is_standard(text) else None


def same_form(value: Any, other: Any) -> bool:
    """Whether two ids are written alike: 7 and "7" are not."""
    return type(value) is type(other)
