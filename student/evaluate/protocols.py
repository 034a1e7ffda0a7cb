"""Rules of average precision: COCO's, LVIS's, or LVIS's fixed AP.

LVIS is federated (Gupta et al., arXiv 1908.03195, section 5): an image only counts for the categories that it boxes or
lists as absent, and detections of all others are ignored. If a category is not exhaustively boxed, an unmatched
detection is not an error. At most 300 detections of an image count, over all categories, so rare ones compete with
frequent ones. Fixed AP (Dave et al., arXiv 2102.01066) has no such limit: the 10,000 best detections of each category
over the whole data set count, however many an image has.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from schemas.errors import ConfigError
from student.gold.coco.types import CocoDetection, CocoId, GoldDataset

ProtocolName = Literal["coco", "lvis", "fixed_ap"]
FREQUENCIES = {"rare": "APr", "common": "APc", "frequent": "APf"}
NO_LIMIT = 10**9


@dataclass(frozen=True)
class EvaluationProtocol:
    """Rules of one protocol. `recall` is the name of the recall at the last of `max_dets`, instead of COCO's AR100.

    per_image:    detections of an image that count, over all categories; None: COCO limits each category instead
    per_category: detections of a category that count, over all images
    """

    name: ProtocolName
    federated: bool
    max_dets: tuple[int, int, int]
    recall: str
    asked_per_image: int  # boxes that a model is asked for if the caller gives no number
    per_image: int | None = None
    per_category: int | None = None


PROTOCOLS: dict[ProtocolName, EvaluationProtocol] = {
    "coco": EvaluationProtocol("coco", False, (1, 10, 100), "AR100", 100),
    "lvis": EvaluationProtocol("lvis", True, (1, 10, 300), "AR300", 300, per_image=300),
    "fixed_ap": EvaluationProtocol(
        "fixed_ap", True, (1, 10, NO_LIMIT), "ARall", NO_LIMIT, per_category=10_000
    ),
}


def choose_rules(name: ProtocolName, max_detections: int | None = None) -> EvaluationProtocol:
    """Return the rules of a protocol, with another number of detections that count if one is given.

    max_detections: of an image and category by COCO's rules, of an image by LVIS's, as their own limits
    """
    rules = PROTOCOLS[name]
    if max_detections is None:
        return rules
    asked = replace(rules, asked_per_image=max_detections)
    if rules.federated:
        asked = replace(asked, per_image=max_detections)
    if rules.per_category is not None:
        return asked
    first, second, _ = rules.max_dets
    limits = (min(first, max_detections), min(second, max_detections), max_detections)
    return replace(asked, max_dets=limits, recall=f"AR{max_detections}")


def count_cut(results: Sequence[CocoDetection], rules: EvaluationProtocol) -> int:
    """Return how many detections do not count, because their image and category, or their image, has better ones."""
    if rules.federated:
        return len(results) - len(limit_detections(results, rules))
    numbers = Counter((row["image_id"], row["category_id"]) for row in results)
    return sum(max(0, number - rules.max_dets[-1]) for number in numbers.values())


def count_crowded_images(gold: GoldDataset, limit: int) -> int:
    """Return how many images have more gold boxes than `limit`. Crowds do not count."""
    boxes = Counter(row["image_id"] for row in gold["annotations"] if not row.get("iscrowd"))
    return sum(number > limit for number in boxes.values())


def limit_detections(results: Sequence[CocoDetection], protocol: EvaluationProtocol) -> list[CocoDetection]:
    """Return the detections that count, in their order. Of equal scores the earlier ones count."""
    counted = list(results)
    if protocol.per_image is not None:
        counted = _best_by(counted, "image_id", protocol.per_image)
    if protocol.per_category is not None:
        counted = _best_by(counted, "category_id", protocol.per_category)
    return counted


def _best_by(
    results: list[CocoDetection], field: Literal["image_id", "category_id"], limit: int
) -> list[CocoDetection]:
    by_id: defaultdict[CocoId, list[int]] = defaultdict(list)
    for position, row in enumerate(results):
        by_id[row[field]].append(position)
    best: list[int] = []
    for positions in by_id.values():
        best += heapq.nsmallest(limit, positions, key=lambda at: (-results[at]["score"], at))
    return [results[position] for position in sorted(best)]


def check_federated_gold(gold: GoldDataset, protocol: EvaluationProtocol) -> None:
    """Raise ConfigError for gold without federated lists under a federated protocol: nothing would count."""
    fields = ("neg_category_ids", "not_exhaustive_category_ids")
    if protocol.federated and not all(field in image for image in gold["images"] for field in fields):
        raise ConfigError(
            f"{protocol.name} needs {' and '.join(fields)} of every image, this gold has no such fields; remove "
            "--lvis and --fixed-ap"
        )


def boxes_all(gold: GoldDataset, protocol: EvaluationProtocol) -> bool:
    """Return whether the gold boxes everything that counts. Federated gold does so by LVIS's rules alone."""
    if protocol.federated:
        return True
    federated = any("neg_category_ids" in image for image in gold["images"])
    return bool(gold.get("exhaustive", True)) and not federated


def frequency_numbers(groups: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return APr, APc and APf of those groups that exist."""
    return {short: groups[name]["AP"] for name, short in FREQUENCIES.items() if name in groups}


def rename_recall(numbers: dict[str, Any], protocol: EvaluationProtocol) -> dict[str, Any]:
    """Return the numbers with AR100 under the name of the protocol's limit, in `ci` and `groups` too."""
    if protocol.recall == "AR100":
        return numbers
    renamed: dict[str, Any] = {}
    for name, value in numbers.items():
        if name == "ci":
            value = rename_recall(value, protocol)
        elif name == "groups":
            value = {group: rename_recall(own, protocol) for group, own in value.items()}
        renamed[protocol.recall if name == "AR100" else name] = value
    return renamed
