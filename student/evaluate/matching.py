"""Match detections to gold boxes with hotcoco, and compute COCO's twelve numbers. Only this file calls hotcoco.

Promise: equal to pycocotools to float precision, with crowds and empty categories. By LVIS's rules, equal to a plain
implementation of them. Tests compare both.
"""

# T IoU thresholds, R recall points, K categories, A area ranges, M detection limits
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval, LVISResults
from numpy.typing import NDArray

from schemas.errors import ConfigError
from student.evaluate.protocols import (
    PROTOCOLS,
    EvaluationProtocol,
    check_federated_gold,
    limit_detections,
)
from student.gold.coco.types import CocoDetection, CocoId, GoldAnnotation, GoldDataset

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
AREAS = {"all": 0, "s": 1, "m": 2, "l": 3}
_AT_IOU = {"AP50": 0, "AP75": 5}
_AT_LIMIT = {"AR1": 0, "AR10": 1}
_LARGEST = 2


def match_detections(
    gold: GoldDataset,
    results: Sequence[CocoDetection],
    protocol: EvaluationProtocol = PROTOCOLS["coco"],
) -> COCOeval:
    """Return an accumulated evaluation: detections matched to gold boxes, arrays of precision and recall.

    All ids are whole numbers from 0 up (`ids.NumberedGold`).
    """
    check_ids(gold, results)
    check_federated_gold(gold, protocol)
    results = limit_detections(results, protocol)
    truth = COCO(
        {
            "images": gold["images"],
            "categories": gold["categories"],
            "annotations": [_add_defaults(annotation) for annotation in gold["annotations"]],
        }
    )
    rows = [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": row["bbox"],
            "score": row["score"],
        }
        for row in results
    ]
    # with lvis_style, load_res limits an image to 300 boxes by itself; LVISResults does not
    detections = LVISResults(truth, rows, max_dets=-1) if protocol.federated else truth.load_res(rows)
    evaluation = COCOeval(truth, detections, "bbox", lvis_style=protocol.federated)
    # reading the attribute returns a copy, so the whole attribute must be set
    evaluation.params.max_dets = list(protocol.max_dets)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """Return the mean of the entries that are not -1 (no gold there), or -1 if there are none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0


def area_of(name: str) -> int:
    """Return the index of the area range of a COCO name: `APs` -> small."""
    return AREAS.get(name[2:], 0)


def read_numbers(evaluation: COCOeval, category_ids: Iterable[CocoId] | None = None) -> dict[str, float]:
    """Return the twelve numbers of an evaluation.

    category_ids: categories that count; None: all
    """
    arrays = evaluation.eval
    assert arrays is not None, "accumulate() fills it"
    ids: list[CocoId] = list(evaluation.params.cat_ids)
    columns = [ids.index(item) for item in (ids if category_ids is None else category_ids)]
    precision_TRKAM = np.asarray(arrays["precision"])[:, :, columns]
    recall_TKAM = np.asarray(arrays["recall"])[:, columns]
    numbers = {}
    for name in NAMES:
        if name.startswith("AP"):
            rows = slice(_AT_IOU[name], _AT_IOU[name] + 1) if name in _AT_IOU else slice(None)
            numbers[name] = mean_of_defined(precision_TRKAM[rows, :, :, area_of(name), _LARGEST])
        else:
            limit = _AT_LIMIT.get(name, _LARGEST)
            numbers[name] = mean_of_defined(recall_TKAM[:, :, area_of(name), limit])
    return numbers


def _add_defaults(annotation: GoldAnnotation) -> dict[str, Any]:
    """Return the annotation without its mask, with COCO's own area (of the mask) if it has one, else the box's."""
    _, _, width, height = annotation["bbox"]
    return {
        "id": annotation["id"],
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "bbox": annotation["bbox"],
        "area": annotation.get("area", width * height),
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }


def check_ids(gold: GoldDataset, results: Sequence[CocoDetection]) -> None:
    """Raise ConfigError for a detection of an image or a category that is not in the gold."""
    known = {
        "image_id": ({row["image_id"] for row in results}, {image["id"] for image in gold["images"]}),
        "category_id": ({row["category_id"] for row in results}, {one["id"] for one in gold["categories"]}),
    }
    for field, (used, present) in known.items():
        if unknown := used - present:
            raise ConfigError(
                f"{len(unknown)} values of {field} in the results are not in the gold, e.g. "
                f"{sorted(unknown, key=str)[:3]}; results and gold must be of the same data set"
            )
