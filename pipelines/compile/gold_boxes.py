"""Gold boxes by image, looked up for every sample of the evidence.

Its promise: memory is bounded whatever the size of the gold, for the boxes lie in a temporary file with an index.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.settings import StorageSettings
from engine.views import View, open_view
from pipelines.compile.weights import GoldMask
from schemas.boxes import Boxes, as_boxes, iou
from schemas.errors import ConfigError

_CACHE_KIB = 16 * 1024
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class GoldBox:
    """A human's box, and the category or head noun that it is of."""

    root: str
    box_xyxy_px: tuple[float, float, float, float]


class GoldBoxes:
    """The boxes of all gold that a policy names. Use as a context: leaving it deletes the temporary file."""

    def __init__(self, mask: GoldMask, storage: StorageSettings | None = None) -> None:
        """Reads the gold once. Raises NotFoundError without it, ConfigError for a view that is no gold."""
        self.digests: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="groundswell-gold-")
        self._rows = sqlite3.connect(Path(self._folder.name) / "gold.sqlite")
        try:
            self._fill(mask, storage)
        except BaseException:
            self.close()
            raise

    def _fill(self, mask: GoldMask, storage: StorageSettings | None) -> None:
        self._rows.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._rows.execute("PRAGMA journal_mode = OFF")  # nothing is to be recovered from a temporary file
        self._rows.execute("CREATE TABLE boxes (image BLOB, root TEXT, x0 REAL, y0 REAL, x1 REAL, y1 REAL)")
        for url in mask.urls:
            view = open_view(url, storage)
            if view.manifest.kind != "gold":
                raise ConfigError(
                    f"gold.urls {url}: a {view.manifest.kind}, not gold; name what `gold import` wrote"
                )
            self.digests[url] = view.manifest.digest
            self._rows.executemany("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?)", _boxes_of(view))
        self._rows.execute("CREATE INDEX by_image ON boxes (image)")

    def of_image(self, image_sha256: str) -> list[GoldBox]:
        """The gold boxes of an image, in the order of the gold."""
        found = self._rows.execute(
            "SELECT root, x0, y0, x1, y1 FROM boxes WHERE image = ? ORDER BY rowid",
            (bytes.fromhex(image_sha256),),
        )
        return [GoldBox(root, (x0, y0, x1, y1)) for root, x0, y0, x1, y1 in found]

    def close(self) -> None:
        """Delete the temporary file."""
        self._rows.close()
        self._folder.cleanup()

    def __enter__(self) -> GoldBoxes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _boxes_of(view: View) -> Iterator[tuple[Any, ...]]:
    for row in view.rows():
        if row["image_sha256"]:
            image = bytes.fromhex(row["image_sha256"])
            for region in row["regions"]:
                root = row["phrases"][region["phrase"]]["root"].lower()
                yield (image, root, region["x0"], region["y0"], region["x1"], region["y1"])


def overlaps_gold(
    phrases: Sequence[dict[str, Any]],
    phrase_R: NDArray[np.int64],
    boxes_R4: Boxes,
    gold: Sequence[GoldBox],
    at_least: float,
) -> NDArray[np.bool_]:
    """[R] whether a region overlaps a gold box of its phrase's category by an IoU of `at_least` or more."""
    overlap_RG = iou(boxes_R4, as_boxes([box.box_xyxy_px for box in gold])) >= at_least
    told = {
        number: np.array([is_category(box.root, phrases[number]) for box in gold], dtype=bool)
        for number in set(phrase_R.tolist())
    }
    return np.array(
        [(overlap_RG[i] & told[number]).any() for i, number in enumerate(phrase_R.tolist())], dtype=bool
    )


def is_category(category: str, phrase: dict[str, Any]) -> bool:
    """Whether a phrase names a gold category: its head noun is the category, or its words end in it.

    A category of several words must stand whole: "a wooden baseball bat" is of "baseball bat", not "a bat".
    """
    root = phrase["root"].lower()
    if category == root:
        return True
    words = [word for word in phrase["text"].lower().split() if word not in _ARTICLES]
    if not words:
        return False
    wanted = category.replace("_", " ").split()
    return wanted in (words[-len(wanted) :], [*words[:-1], root][-len(wanted) :])
