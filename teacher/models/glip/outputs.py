"""What the GLIP classes return."""

# B images, N locations of all levels, T tokens, C image width, D text width
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from torch import Tensor
from transformers.utils.generic import ModelOutput

# `ModelOutput` wants a default for every field. A field whose type has no `| None` is always set.


@dataclass
class GlipModelOutput(ModelOutput):
    """Features after the tower: `levels` [B, C, H_l, W_l] finest first, `text` [B, T, D]."""

    levels: tuple[Tensor, ...] = None  # type: ignore[assignment]
    text: Tensor = None  # type: ignore[assignment]


@dataclass
class GlipGroundingOutput(ModelOutput):
    """Scores and boxes of all locations, and the losses if there were labels.

    N counts the locations of the levels P3, P4, ... of the padded image: rows, then columns. T is the width of
    `input_ids`.
    """

    loss: Tensor | None = None  # scalar, sum of loss_dict
    loss_dict: dict[str, Tensor] | None = None
    token_logits: Tensor = None  # type: ignore[assignment]  # [B, N, T], before sigmoid
    box_deltas: Tensor = None  # type: ignore[assignment]  # [B, N, 4], after the level scale; see box_coder.decode
    centerness_logits: Tensor = None  # type: ignore[assignment]  # [B, N]
    anchors: Tensor = None  # type: ignore[assignment]  # [N, 4] xyxy in inclusive pixels of the padded image
    level_shapes: tuple[tuple[int, int], ...] = None  # type: ignore[assignment]  # rows, columns


class ImageDetections(TypedDict):
    """Boxes of one image, best score first. D detections."""

    scores: Tensor  # [D]
    labels: Tensor  # [D], index of the phrase
    boxes: Tensor  # [D, 4] xyxy in inclusive pixels
