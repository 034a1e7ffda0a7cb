"""The twelve COCO numbers, for all categories or for groups of them, with intervals over the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from student.evaluate.bootstrap import coco_intervals
from student.evaluate.matching import check_ids, match_detections, read_numbers
from student.evaluate.protocols import ProtocolName, choose_rules, frequency_numbers, rename_recall
from student.gold.coco.types import CocoDetection, CocoId, GoldDataset
from student.gold.ids import NumberedGold


def coco_numbers(
    gold: GoldDataset,
    results: Sequence[CocoDetection],
    *,
    protocol: ProtocolName = "coco",
    groups: Mapping[str, Sequence[CocoId]] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    max_detections: int | None = None,
) -> dict[str, Any]:
    """Return the 12 numbers as fractions; -1 if there is nothing to measure, as in COCO.

    gold:      boxes xywh
    results:   boxes xywh
    protocol:  for LVIS and fixed AP the last average recall is AR300 or ARall, and APr, APc and APf are added for the
               groups rare, common and frequent
    groups:    category ids by name; adds `groups: {name: {the 12 numbers}}`
    max_detections: as in `protocols.choose_rules`
    bootstrap: resamples of the images; adds `ci: {name: [2.5 %, 97.5 %]}`, also as `ci` inside each group
    raises:    ConfigError for a detection of an image or category that is not in the gold, or for a federated protocol
               with gold without its lists
    """
    rules = choose_rules(protocol, max_detections)
    check_ids(gold, results)
    numbered = NumberedGold(gold)
    own_groups = None if groups is None else numbered.translate_groups(groups)
    evaluation = match_detections(numbered.gold, numbered.translate_detections(results), rules)
    numbers: dict[str, Any] = dict(read_numbers(evaluation))
    if own_groups is not None:
        numbers["groups"] = {name: dict(read_numbers(evaluation, ids)) for name, ids in own_groups.items()}
    if bootstrap:
        intervals = coco_intervals(evaluation, own_groups or {}, bootstrap, seed)
        numbers["ci"] = intervals.pop("")
        for name, interval in intervals.items():
            numbers["groups"][name]["ci"] = interval
    if rules.federated:
        numbers |= frequency_numbers(numbers.get("groups", {}))
    return rename_recall(numbers, rules)
