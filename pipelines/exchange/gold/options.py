"""The options of an import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.exchange.gold.images import ImageSource
from student.gold.boxes import BoxConvention, BoxForm, BoxUnit
from student.gold.codes import MAX_REFUSED

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
    form: BoxForm | None = None  # of the boxes, if the user states it
    unit: BoxUnit | None = None
    merge_names: bool = False  # class names that differ by case are one class
    origin: Literal["human", "teacher"] = "human"  # teacher: labels of a tool, which are no gold
    part: str | None = None  # of a data set in parts: train, val or test; None: all
    max_refused: float = MAX_REFUSED  # share of boxes, and of images; above it the import is not a success

    def state_convention(self, usual: BoxConvention) -> BoxConvention | None:
        """Return the convention that the user states, the format's own in what is left out; None without a word."""
        if self.form is None and self.unit is None:
            return None
        return BoxConvention(self.form or usual.form, self.unit or usual.unit)

    @property
    def images_url(self) -> str:
        """The value of `shard` in the rows."""
        return "no-images" if self.images is None else self.images.url
