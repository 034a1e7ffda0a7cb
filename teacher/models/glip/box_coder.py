"""Boxes as deltas from anchors and back, in inclusive pixels, and the two overlaps that GLIP uses.

`decode(encode(boxes, anchors), anchors)` returns the boxes. The +1 of inclusive pixels is in the coder and
in `pairwise_iou`, but not in `generalized_iou`, which the authors compute on plain differences.
"""

# N anchors or boxes, M other boxes
from __future__ import annotations

import math

import torch
from torch import Tensor

# Center deltas are multiplied by 10, size deltas by 5. A size never grows by more than 1000 / 16.
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
MAX_LOG_SIZE = math.log(1000.0 / 16)


def centers_and_sizes(boxes_N4: Tensor) -> tuple[Tensor, Tensor]:
    """Return ([..., 2] centers, [..., 2] inclusive sizes)."""
    low, high = boxes_N4[..., :2], boxes_N4[..., 2:]
    return (low + high) / 2, high - low + 1


def encode(boxes_N4: Tensor, anchors_N4: Tensor) -> Tensor:
    """Return the deltas (dx, dy, dw, dh) that `decode` turns into these boxes."""
    center, size = centers_and_sizes(boxes_N4)
    anchor_center, anchor_size = centers_and_sizes(anchors_N4)
    weights = boxes_N4.new_tensor(WEIGHTS)
    return torch.cat(((center - anchor_center) / anchor_size, (size / anchor_size).log()), dim=-1) * weights


def decode(deltas_N4: Tensor, anchors_N4: Tensor) -> Tensor:
    """Return boxes xyxy in inclusive pixels. Leading dimensions broadcast."""
    anchor_center, anchor_size = centers_and_sizes(anchors_N4)
    deltas = deltas_N4 / deltas_N4.new_tensor(WEIGHTS)
    center = deltas[..., :2] * anchor_size + anchor_center
    reach = (deltas[..., 2:].clamp(max=MAX_LOG_SIZE).exp() * anchor_size - 1) / 2
    return torch.cat((center - reach, center + reach), dim=-1)


def pairwise_iou(boxes_N4: Tensor, others_M4: Tensor) -> Tensor:
    """Return [N, M], intersection over union of inclusive pixels."""
    low = torch.maximum(boxes_N4[:, None, :2], others_M4[None, :, :2])
    high = torch.minimum(boxes_N4[:, None, 2:], others_M4[None, :, 2:])
    inter = (high - low + 1).clamp(min=0).prod(dim=-1)
    area_N, area_M = (centers_and_sizes(boxes)[1].prod(dim=-1) for boxes in (boxes_N4, others_M4))
    return inter / (area_N[:, None] + area_M - inter)


def generalized_iou(boxes_N4: Tensor, others_N4: Tensor) -> Tensor:
    """Return [N], the generalized IoU of corresponding boxes, -1 to 1, without the +1. An inverted box is empty.

    Source: arXiv 1902.09630; the authors add 1e-7 to union and enclosure.
    """
    low_a, high_a = boxes_N4[:, :2], torch.maximum(boxes_N4[:, :2], boxes_N4[:, 2:])
    low_b, high_b = others_N4[:, :2], others_N4[:, 2:]
    inter = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(dim=-1)
    union = (high_a - low_a).prod(dim=-1) + (high_b - low_b).prod(dim=-1) - inter + 1e-7
    enclosure = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).prod(dim=-1) + 1e-7
    return inter / union - (enclosure - union) / enclosure
