"""The options of an import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.exchange.gold.images import ImageSource

Dialect = Literal["auto", "open_gd", "mmdet", "tao"]
Negatives = Literal["all", "authors"]


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import. Without `images`, rows have no pixels and only captions and spans are checked."""

    images: ImageSource | None = None
    split: frozenset[str] | None = None  # names (stems or ids) of the images that are wanted
    negatives: Negatives = "all"
    seed: int = 0
    label_map: Path | None = None
    dialect: Dialect = "auto"

    @property
    def images_url(self) -> str:
        """The value of `shard` in the rows."""
        return "no-images" if self.images is None else self.images.url
