"""Turn detections of a grounding model into regions: half-open pixels of the stored image, clipped to it.

Inside GLIP, boxes are inclusive pixels (a one-pixel box has x0 == x1). They are first scaled to the stored image, then
made half-open by adding 1 to right and bottom. Training targets take the opposite way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from schemas.boxes import Boxes, as_boxes, clip
from schemas.records import Region


def to_half_open(boxes_inclusive_N4: ArrayLike, width: int, height: int) -> Boxes:
    """Return inclusive pixel boxes of the stored image as half-open ones, clipped to width x height."""
    return clip(as_boxes(boxes_inclusive_N4) + np.array([0.0, 0.0, 1.0, 1.0]), width, height)


def to_inclusive(boxes_half_open_N4: ArrayLike) -> Boxes:
    """Return half-open pixel boxes as inclusive ones: the inverse of `to_half_open`."""
    boxes_N4: Boxes = as_boxes(boxes_half_open_N4) - np.array([0.0, 0.0, 1.0, 1.0])
    return boxes_N4


def make_regions(
    detections: Mapping[str, np.ndarray],
    phrases: Sequence[int],
    size: tuple[int, int],
    *,
    min_score: float,
    pass_index: int,
) -> list[Region]:
    """Return the regions of one image and prompt, in the order of the detections.

    detections: `scores` [n], `labels` [n] (index into `phrases`), `boxes` [n, 4] inclusive pixels of the stored image,
                as `GlipProcessor.post_process_grounded_object_detection` returns them with `target_sizes`
    phrases: number in the sample of each phrase of the prompt
    size: (height, width) of the stored image
    """
    scores = np.asarray(detections["scores"], dtype=np.float64)
    labels = np.asarray(detections["labels"])
    boxes_N4 = to_half_open(np.asarray(detections["boxes"]), width=size[1], height=size[0])
    return [
        Region(
            phrase=phrases[int(labels[n])],
            x0=box[0],
            y0=box[1],
            x1=box[2],
            y1=box[3],
            score=float(scores[n]),
            pass_index=pass_index,
        )
        for n, box in enumerate(boxes_N4.tolist())
        if scores[n] >= min_score
    ]
