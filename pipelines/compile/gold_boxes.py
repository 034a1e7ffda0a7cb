"""Gold boxes by image. They are stored in a temporary indexed file, so memory does not grow with the gold."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from engine.settings import StorageSettings
from engine.views import View, open_view
from pipelines.compile.gold_mask import GoldBox, GoldMask
from schemas.errors import ConfigError

_CACHE_KIB = 16 * 1024


class GoldBoxes:
    """The boxes of all gold that a policy names. A context manager that deletes its temporary file on exit."""

    def __init__(self, mask: GoldMask, storage: StorageSettings | None = None) -> None:
        """Read the gold. Raises NotFoundError if there is none, ConfigError for a view that is not gold."""
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
        self._rows.execute("PRAGMA journal_mode = OFF")  # a temporary file needs no recovery
        self._rows.execute("CREATE TABLE boxes (image BLOB, root TEXT, x0 REAL, y0 REAL, x1 REAL, y1 REAL)")
        for url in mask.urls:
            view = open_view(url, storage)
            if view.manifest.kind != "gold":
                raise ConfigError(
                    f"gold.urls {url}: a {view.manifest.kind}, not gold; name a folder that `gold import` wrote"
                )
            self.digests[url] = view.manifest.digest
            self._rows.executemany("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?)", _iter_boxes(view))
        self._rows.execute("CREATE INDEX by_image ON boxes (image)")

    def load_image(self, image_sha256: str) -> list[GoldBox]:
        """Return the gold boxes of an image, in the order of the gold."""
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


def _iter_boxes(view: View) -> Iterator[tuple[bytes, str, float, float, float, float]]:
    """Yield image digest, root and box of each region."""
    for row in view.rows():
        if row["image_sha256"]:
            image = bytes.fromhex(row["image_sha256"])
            for region in row["regions"]:
                root = row["phrases"][region["phrase"]]["root"].lower()
                yield (image, root, region["x0"], region["y0"], region["x1"], region["y1"])
