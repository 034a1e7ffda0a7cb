"""Make the labels for GLIP's losses from a prompt and an image's boxes.

Frames: examples have half-open pixels of the stored image, GLIP has inclusive pixels of its input. As in the authors'
code, one pixel is subtracted from right and bottom before the boxes are scaled to the input.
"""

# G boxes of the example, T tokens, S spans of the prompt
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from student.batches.geometry import AffineAugmentation, augment_boxes
from student.data.examples import TrainingExample
from student.prompts.training_prompt import TrainingPrompt
from teacher.grounding.regions import to_inclusive
from teacher.models.glip.losses import ImageLabels


def make_targets(
    example: TrainingExample,
    prompt: TrainingPrompt,
    span_tokens: Sequence[Sequence[int]],
    tokens: int,
    motion: AffineAugmentation,
    stored_hw: tuple[int, int],
    input_hw: tuple[int, int],
    min_visible: float,
) -> ImageLabels:
    """Return the labels of one image.

    span_tokens: per span of the prompt, the positions of its tokens, each below `tokens`
    stored_hw:   (height, width) that the example's boxes refer to
    input_hw:    (height, width) of the image in the network, without padding
    min_visible: a box with less of its area left after `motion` is ignored: neither learned nor a negative
    """
    (height, width), spans = stored_hw, prompt.spans
    moved_G4, visible_G = augment_boxes(example.boxes_xyxy_px_G4, motion, width, height)
    ratio = np.array([input_hw[1] / width, input_hw[0] / height] * 2)
    inclusive_G4 = to_inclusive(moved_G4) * ratio
    map_GT = _token_map([span.boxes for span in spans], span_tokens, len(moved_G4), tokens)
    ignore_GT = _token_map([span.ignored for span in spans], span_tokens, len(moved_G4), tokens)
    named_G, learnable_G = map_GT.any(axis=1), _is_learnable(moved_G4, visible_G, min_visible)
    learned_G, lost_G = named_G & learnable_G, named_G & ~learnable_G
    ignore_GT[lost_G] += map_GT[lost_G]
    ignored_G = ignore_GT.any(axis=1) & (visible_G > 0)
    return {
        "boxes": _to_tensor(inclusive_G4[learned_G]),
        "positive_map": _to_tensor(map_GT[learned_G]),
        "box_weight": _to_tensor(example.box_weight_G[learned_G]),
        "token_weight": _to_tensor(example.token_weight_G[learned_G]),
        "ignore_boxes": _to_tensor(inclusive_G4[ignored_G]),
        "ignore_map": _to_tensor(ignore_GT[ignored_G] > 0),
        "token_mask": _to_tensor(_token_mask(prompt, span_tokens, tokens)),
    }


def _is_learnable(
    moved_G4: NDArray[np.float64], visible_G: NDArray[np.float64], min_visible: float
) -> NDArray[np.bool_]:
    """Return [G] whether enough of a box is left, at least one pixel on each side."""
    x0, y0, x1, y1 = moved_G4.T
    return np.asarray((visible_G >= min_visible) & (x1 - x0 >= 1) & (y1 - y0 >= 1))


def _token_map(
    boxes_S: Sequence[Sequence[int]], span_tokens: Sequence[Sequence[int]], boxes: int, tokens: int
) -> NDArray[np.float64]:
    """Return [G, T]: 1 where a token describes a box."""
    describes = np.zeros((boxes, tokens))
    for owned, positions in zip(boxes_S, span_tokens, strict=True):
        for box in owned:
            describes[box, positions] = 1
    return describes


def _token_mask(
    prompt: TrainingPrompt, span_tokens: Sequence[Sequence[int]], tokens: int
) -> NDArray[np.float64]:
    """Return [T]: 0 at the tokens of masked spans. A phrase with unknown boxes is neither present nor absent."""
    mask = np.ones(tokens)
    for span, positions in zip(prompt.spans, span_tokens, strict=True):
        if span.masked:
            mask[list(positions)] = 0
    return mask


def _to_tensor(values: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
