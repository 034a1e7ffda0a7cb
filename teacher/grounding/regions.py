"""Detections of a grounding model become regions: half-open pixels of the stored image, clipped to it.

Inside GLIP boxes are inclusive pixels (a one-pixel box has x0 == x1). They are scaled to the stored image first and
made half-open there, by adding 1 to right and bottom; training targets go the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schemas.boxes import Boxes, as_boxes, clip
from schemas.records import Region


def half_open(boxes_inclusive_N4: object, width: int, height: int) -> Boxes:
    """Inclusive pixel boxes of the stored image as half-open ones, clipped to width x height."""
    return clip(as_boxes(boxes_inclusive_N4) + np.array([0.0, 0.0, 1.0, 1.0]), width, height)


def inclusive(boxes_half_open_N4: object) -> Boxes:
    """The way back: half-open pixel boxes as inclusive ones."""
    return as_boxes(boxes_half_open_N4) - np.array([0.0, 0.0, 1.0, 1.0])


def regions_of(
    found: Mapping[str, Any],
    phrases: Sequence[int],
    size: tuple[int, int],
    min_score: float,
    pass_index: int,
) -> list[Region]:
    """Regions of one image and prompt, in the order found.

    found:   `scores` [n], `labels` [n] (index into `phrases`), `boxes` [n, 4] inclusive pixels scaled to the stored
             image, as `GlipProcessor.post_process_grounded_object_detection` gives them with `target_sizes`
    phrases: number in the sample of each asked phrase
    size:    (height, width) of the stored image
    """
    scores, labels = np.asarray(found["scores"], dtype=np.float64), np.asarray(found["labels"])
    boxes_N4 = half_open(np.asarray(found["boxes"]), width=size[1], height=size[0])
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
