"""Box arithmetic on xyxy half-open pixel boxes, in numpy.

Every function takes [n, 4] float arrays (x0, y0, x1, y1) and is exact for empty inputs. GLIP's inclusive pixels
stay inside the `glip` package of the teacher, which converts them when they enter and leave it.
"""

# N boxes, M other boxes
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
_SMALL = 64  # up to this many boxes, one matrix of overlaps is faster than many numpy calls


def as_boxes(values: object) -> Boxes:
    """Convert to an [n, 4] float64 array of boxes; an empty list gives [0, 4]."""
    return np.asarray(values, dtype=np.float64).reshape(-1, 4)


def area(boxes_N4: Boxes) -> NDArray[np.float64]:
    """Return the [n] areas in square pixels; 0 for an inverted box."""
    sides = np.maximum(boxes_N4[:, 2:] - boxes_N4[:, :2], 0)  # `clip` costs more for a few boxes
    return np.asarray(sides[:, 0] * sides[:, 1])


def iou(boxes_N4: Boxes, others_M4: Boxes) -> NDArray[np.float64]:
    """Return the [n, m] intersection over union; 0 where the union is empty."""
    low = np.maximum(boxes_N4[:, None, :2], others_M4[None, :, :2])
    high = np.minimum(boxes_N4[:, None, 2:], others_M4[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    inter = sides[..., 0] * sides[..., 1]
    union = area(boxes_N4)[:, None] + area(others_M4)[None, :] - inter
    return np.asarray(np.divide(inter, union, out=np.zeros_like(inter), where=union > 0))


def nms(boxes_N4: Boxes, scores_N: NDArray[np.float64], iou_above: float) -> list[int]:
    """Return the indices that greedy suppression keeps, best score first; ties go to the lower index."""
    order = np.lexsort((np.arange(len(scores_N)), -scores_N))
    if len(order) <= _SMALL:
        return _nms_small(iou(boxes_N4, boxes_N4) > iou_above, order.tolist())
    kept: list[int] = []
    while len(order):
        best = int(order[0])
        kept.append(best)
        rest = order[1:]
        overlap = iou(boxes_N4[best : best + 1], boxes_N4[rest])[0]
        order = rest[overlap <= iou_above]
    return kept


def _nms_small(covers_NN: NDArray[np.bool_], order: list[int]) -> list[int]:
    """Suppress as `nms` does, from a matrix that says which box covers which."""
    covers = covers_NN.tolist()
    kept: list[int] = []
    for i in order:
        if not any(covers[better][i] for better in kept):
            kept.append(i)
    return kept


def clip(boxes_N4: Boxes, width: int, height: int) -> Boxes:
    """Clip boxes to the image [0, width] x [0, height]."""
    limit = np.array([width, height, width, height], dtype=np.float64)
    return np.asarray(np.clip(boxes_N4, 0, limit))
