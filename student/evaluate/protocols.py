"""Whose rules an average precision follows: COCO's, LVIS's, or LVIS's fixed AP.

LVIS is federated (Gupta et al., arXiv 1908.03195, section 5): an image speaks only of the categories that it boxes or
lists as absent, detections of all others are not looked at; where a category is not exhaustively boxed, an unmatched
detection is no error. At most 300 detections of an image count, over all categories, so a rare category competes with
frequent ones for room. Fixed AP (Dave et al., arXiv 2102.01066) takes that limit away: the 10,000 best detections of
each category over the whole data set count, however many an image has.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schemas.errors import ConfigError

ProtocolName = Literal["coco", "lvis", "fixed_ap"]
FREQUENCIES = {"rare": "APr", "common": "APc", "frequent": "APf"}
NO_LIMIT = 10**9


@dataclass(frozen=True)
class Protocol:
    """`recall` names the average recall at the last of `max_dets`, in the place of COCO's AR100.

    per_image:    detections of an image that count, over all categories; None: COCO limits each category instead
    per_category: detections of a category that count, over all images
    """

    name: ProtocolName
    federated: bool
    max_dets: tuple[int, int, int]
    recall: str
    asked_per_image: int  # what a model is asked for where the caller names no number
    per_image: int | None = None
    per_category: int | None = None


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "coco": Protocol("coco", False, (1, 10, 100), "AR100", 100),
    "lvis": Protocol("lvis", True, (1, 10, 300), "AR300", 300, per_image=300),
    "fixed_ap": Protocol("fixed_ap", True, (1, 10, NO_LIMIT), "ARall", NO_LIMIT, per_category=10_000),
}


def counted(results: Sequence[Mapping[str, Any]], protocol: Protocol) -> list[Mapping[str, Any]]:
    """The detections that count, in their order; of equal scores the earlier ones."""
    kept = list(results)
    if protocol.per_image is not None:
        kept = _best_by(kept, "image_id", protocol.per_image)
    if protocol.per_category is not None:
        kept = _best_by(kept, "category_id", protocol.per_category)
    return kept


def _best_by(results: list[Mapping[str, Any]], field: str, limit: int) -> list[Mapping[str, Any]]:
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for place, row in enumerate(results):
        places[row[field]].append(place)
    kept: list[int] = []
    for some in places.values():
        kept += heapq.nsmallest(limit, some, key=lambda place: (-results[place]["score"], place))
    return [results[place] for place in sorted(kept)]


def check_gold(gold: Mapping[str, Any], protocol: Protocol) -> None:
    """Raise ConfigError for gold without federated lists under a federated protocol: nothing would be looked at."""
    fields = ("neg_category_ids", "not_exhaustive_category_ids")
    if protocol.federated and not all(field in image for image in gold["images"] for field in fields):
        raise ConfigError(
            f"{protocol.name} needs {' and '.join(fields)} of every image; this gold is no LVIS: evaluate it without"
        )


def boxes_all(gold: Mapping[str, Any], protocol: Protocol) -> bool:
    """Whether the gold boxes everything that the protocol looks at: federated gold does by LVIS's rules alone."""
    if protocol.federated:
        return True
    federated = any("neg_category_ids" in image for image in gold["images"])
    return bool(gold.get("exhaustive", True)) and not federated


def frequency_numbers(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """APr, APc and APf from the groups that there are."""
    return {short: groups[name]["AP"] for name, short in FREQUENCIES.items() if name in groups}


def renamed(numbers: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    """The numbers with AR100 under the name that says its limit, here, in `ci` and in `groups`."""
    if protocol.recall == "AR100":
        return numbers
    told: dict[str, Any] = {}
    for name, value in numbers.items():
        if name == "ci":
            value = renamed(value, protocol)
        elif name == "groups":
            value = {group: renamed(inside, protocol) for group, inside in value.items()}
        told[protocol.recall if name == "AR100" else name] = value
    return told
