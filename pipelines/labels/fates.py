"""What the fate of a region means to a reader of labels. Regions of evidence have none: no policy decided yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, overload

if TYPE_CHECKING:  # the command line imports this module: `schemas.rows` would load pydantic
    from schemas.rows import EvidenceRow, RegionRow, ViewRegionRow, ViewRow

LabelRow: TypeAlias = "EvidenceRow | ViewRow"
"""A row of evidence, view or gold."""

IGNORE, CLASS_ONLY = "ignore", "class_only"


def is_kept(region: RegionRow) -> bool:
    """Return whether the region is a label: class_only is one, a region to ignore is not."""
    return region.get("fate") != IGNORE


@overload
def find_kept_regions(row: ViewRow) -> list[ViewRegionRow]: ...
@overload
def find_kept_regions(row: EvidenceRow) -> list[RegionRow]: ...
def find_kept_regions(row: LabelRow) -> list[ViewRegionRow] | list[RegionRow]:
    """Return the regions of a row that are labels."""
    return [region for region in row["regions"] if is_kept(region)]


def count_fate(regions: Iterable[RegionRow], fate: str) -> int:
    """Return how many of the regions have the fate."""
    return sum(region.get("fate") == fate for region in regions)
