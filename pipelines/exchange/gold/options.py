"""What an import is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.exchange.gold.images import Images

Dialect = Literal["auto", "open_gd", "mmdet", "tao"]
Negatives = Literal["all", "authors"]


@dataclass(frozen=True)
class Options:
    """images: None makes rows without images, for checks of captions and spans."""

    images: Images | None = None
    split: frozenset[str] | None = None  # names (stems or ids) of the images that are wanted
    negatives: Negatives = "all"
    seed: int = 0
    label_map: Path | None = None
    dialect: Dialect = "auto"

    @property
    def images_url(self) -> str:
        """What `shard` of the rows is."""
        return "no-images" if self.images is None else self.images.url
