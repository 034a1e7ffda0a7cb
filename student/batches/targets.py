"""From a prompt and an image's boxes to the labels that GLIP's losses read.

The frames: examples hold half-open pixels of the stored image, GLIP inclusive pixels of its input. As in the authors'
code one pixel is taken off right and bottom before the boxes are scaled to the input.
"""

# G boxes of the example, K kept ones, M ignored ones, T tokens, S spans of the prompt
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from student.batches.geometry import Motion, move_boxes
from student.data.examples import Example
from student.prompts.build import Prompt
from teacher.grounding.regions import to_inclusive
from teacher.models.glip.losses import ImageLabels


def image_labels(
    example: Example,
    prompt: Prompt,
    span_tokens: Sequence[Sequence[int]],
    tokens: int,
    motion: Motion,
    stored_hw: tuple[int, int],
    input_hw: tuple[int, int],
    min_visible: float,
) -> ImageLabels:
    """The labels of one image.

    span_tokens: per span of the prompt, the positions of its tokens, each below `tokens`
    stored_hw:   (height, width) that the example's boxes refer to
    input_hw:    (height, width) of the image in the network, without padding
    min_visible: a box with less of its area left after `motion` is ignored: not learned, and no negative either
    """
    (height, width), spans = stored_hw, prompt.spans
    moved_G4, seen_G = move_boxes(example.boxes_xyxy_px_G4, motion, width, height)
    ratio = np.array([input_hw[1] / width, input_hw[0] / height] * 2)
    inclusive_G4 = to_inclusive(moved_G4) * ratio
    map_GT = _token_map([span.boxes for span in spans], span_tokens, len(moved_G4), tokens)
    doubt_GT = _token_map([span.ignored for span in spans], span_tokens, len(moved_G4), tokens)
    asked_G, learnable_G = map_GT.any(axis=1), _learnable(moved_G4, seen_G, min_visible)
    kept_G, lost_G = asked_G & learnable_G, asked_G & ~learnable_G
    doubt_GT[lost_G] += map_GT[lost_G]
    doubted_G = doubt_GT.any(axis=1) & (seen_G > 0)
    return {
        "boxes": _tensor(inclusive_G4[kept_G]),
        "positive_map": _tensor(map_GT[kept_G]),
        "box_weight": _tensor(example.box_weight_G[kept_G]),
        "token_weight": _tensor(example.token_weight_G[kept_G]),
        "ignore_boxes": _tensor(inclusive_G4[doubted_G]),
        "ignore_map": _tensor(doubt_GT[doubted_G] > 0),
        "token_mask": _tensor(_token_mask(prompt, span_tokens, tokens)),
    }


def _learnable(
    moved_G4: NDArray[np.float64], seen_G: NDArray[np.float64], min_visible: float
) -> NDArray[np.bool_]:
    """[G] boxes of which enough is left, a pixel at least."""
    x0, y0, x1, y1 = moved_G4.T
    return np.asarray((seen_G >= min_visible) & (x1 - x0 >= 1) & (y1 - y0 >= 1))


def _token_map(
    boxes_S: Sequence[Sequence[int]], span_tokens: Sequence[Sequence[int]], boxes: int, tokens: int
) -> NDArray[np.float64]:
    """[G, T] 1 where a token speaks of a box."""
    speaks = np.zeros((boxes, tokens))
    for owned, positions in zip(boxes_S, span_tokens, strict=True):
        for box in owned:
            speaks[box, positions] = 1
    return speaks


def _token_mask(prompt: Prompt, span_tokens: Sequence[Sequence[int]], tokens: int) -> NDArray[np.float64]:
    """[T] 0 at the tokens of masked spans: a phrase without a kept box is neither present nor absent."""
    mask = np.ones(tokens)
    for span, positions in zip(prompt.spans, span_tokens, strict=True):
        if span.masked:
            mask[list(positions)] = 0
    return mask


def _tensor(values: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
