"""The twelve COCO numbers, for all categories or for groups of them, with intervals over the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from student.evaluate.bootstrap import coco_intervals
from student.evaluate.gold.ids import Numbered
from student.evaluate.matching import check_ids, matched, numbers_of
from student.evaluate.protocols import PROTOCOLS, ProtocolName, frequency_numbers, renamed


def coco_numbers(
    gold: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    protocol: ProtocolName = "coco",
    groups: Mapping[str, Sequence[int]] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """The 12 numbers as fractions; -1 where there is nothing to measure, as COCO has it.

    gold:      a COCO instances object; boxes xywh
    results:   COCO detections: image_id, category_id, bbox xywh, score
    protocol:  whose rules; for LVIS and fixed AP the last average recall is AR300 or ARall, and APr, APc and APf are
               added for the groups rare, common and frequent
    groups:    category ids by name; adds `groups: {name: {the 12 numbers}}`
    bootstrap: resamples of the images; adds `ci: {name: [2.5 %, 97.5 %]}`, also as `ci` inside each group
    raises:    ConfigError for a detection of an image or category that the gold does not hold, or a federated protocol
               for gold without its lists
    """
    rules = PROTOCOLS[protocol]
    check_ids(gold, results)
    numbered = Numbered(gold)
    gold, results = numbered.gold, numbered.rows(results)
    groups = None if groups is None else numbered.groups(groups)
    evaluation = matched(gold, results, rules)
    numbers: dict[str, Any] = numbers_of(evaluation, None)
    if groups is not None:
        numbers["groups"] = {name: numbers_of(evaluation, list(ids)) for name, ids in groups.items()}
    if bootstrap:
        intervals = coco_intervals(evaluation, groups or {}, bootstrap, seed)
        numbers["ci"] = intervals.pop("")
        for name, interval in intervals.items():
            numbers["groups"][name]["ci"] = interval
    if rules.federated:
        numbers |= frequency_numbers(numbers.get("groups", {}))
    return renamed(numbers, rules)
