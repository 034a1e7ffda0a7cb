"""What a region's fate means to whoever looks at labels. Regions of evidence have none: no policy has decided yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

IGNORE, CLASS_ONLY = "ignore", "class_only"


def is_kept(region: Mapping[str, Any]) -> bool:
    """Return whether the region is a label: class_only counts, a region to ignore does not."""
    return region.get("fate") != IGNORE


def kept_regions(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the regions of a row of evidence, view or gold that are labels."""
    return [region for region in row["regions"] if is_kept(region)]


def count_fate(regions: Iterable[Mapping[str, Any]], fate: str) -> int:
    """Return how many of the regions have the fate."""
    return sum(region.get("fate") == fate for region in regions)
