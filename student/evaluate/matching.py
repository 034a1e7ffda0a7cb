"""Detections matched to gold boxes by hotcoco, and the twelve numbers read from the match. hotcoco stays behind here.

Promise: equal to pycocotools to float precision, crowds and empty categories included, and by LVIS's rules to a plain
reading of them (tests compare).
"""

# T IoU thresholds, R recall points, K categories, A area ranges, M detection limits
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval, LVISResults

from schemas.errors import ConfigError
from student.evaluate.protocols import PROTOCOLS, Protocol, check_gold, counted

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
AREAS = {"all": 0, "s": 1, "m": 2, "l": 3}
_AT_IOU = {"AP50": 0, "AP75": 5}
_AT_LIMIT = {"AR1": 0, "AR10": 1}
_LARGEST = 2


def matched(
    gold: Mapping[str, Any], results: Sequence[Mapping[str, Any]], protocol: Protocol = PROTOCOLS["coco"]
) -> COCOeval:
    """An accumulated evaluation: detections matched to gold boxes, precision and recall arrays filled.

    All ids are whole numbers from 0 up (`ids.Numbered`).
    """
    check_ids(gold, results)
    check_gold(gold, protocol)
    results = counted(results, protocol)
    annotations = [_with_defaults(annotation) for annotation in gold["annotations"]]
    truth = COCO({"images": gold["images"], "categories": gold["categories"], "annotations": annotations})
    fields = ("image_id", "category_id", "bbox", "score")
    rows = [{name: row[name] for name in fields} for row in results]
    # lvis_style caps a plain load_res at 300 boxes an image by itself; an LVISResults is taken as it is
    detections = LVISResults(truth, rows, max_dets=-1) if protocol.federated else truth.load_res(rows)
    evaluation = COCOeval(truth, detections, "bbox", lvis_style=protocol.federated)
    # a copy is given out: the whole attribute must be set
    evaluation.params.max_dets = list(protocol.max_dets)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of the entries that are not -1 (no gold there), or -1 when none is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0


def area_of(name: str) -> int:
    """Index of the area range behind a COCO name: `APs` -> small."""
    return AREAS.get(name[2:], 0)


def numbers_of(evaluation: COCOeval, category_ids: list[int] | None) -> dict[str, float]:
    """The twelve numbers of an evaluation, of some categories or of all."""
    arrays = evaluation.eval
    assert arrays is not None, "accumulate() fills it"
    ids = list(evaluation.params.cat_ids)
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


def _with_defaults(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The annotation without its mask; COCO's own area (of the mask) where there is one, else the box's."""
    kept = {name: annotation[name] for name in ("id", "image_id", "category_id", "bbox")}
    _, _, width, height = annotation["bbox"]
    return {
        **kept,
        "area": annotation.get("area", width * height),
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }


def check_ids(gold: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError for a detection of an image or a category that the gold does not hold."""
    for field, rows in (("image_id", gold["images"]), ("category_id", gold["categories"])):
        unknown = {row[field] for row in results} - {row["id"] for row in rows}
        if unknown:
            raise ConfigError(
                f"{len(unknown)} values of {field} in the results are not in the gold, e.g. "
                f"{sorted(unknown, key=str)[:3]}; results and gold must be of the same data set"
            )
