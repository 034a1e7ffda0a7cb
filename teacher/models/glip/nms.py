"""Greedy non-maximum suppression on inclusive pixels, per label, in plain torch.

The result is that of a loop over boxes, without the loop: a box stays if no box that stays suppresses it. Repeating
that rule from "all stay" reaches a fixed point after as many rounds as the longest chain of suppressions.
"""

# N boxes
from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.box_coder import pairwise_iou
from teacher.models.glip.layers.torchvision_ops import torchvision_ops


def nms(boxes_N4: Tensor, scores_N: Tensor, iou_above: float) -> Tensor:
    """Return [N], whether each box stays. Of equal scores, the earlier box wins.

    iou_above: a better box suppresses a box if their IoU is greater than this. From 1 on, no box is suppressed.
    """
    if iou_above >= 1:
        return torch.ones_like(scores_N, dtype=torch.bool)
    ops = torchvision_ops()
    if ops is not None and boxes_N4.dtype == scores_N.dtype:
        # Its boxes are half-open: one more pixel to the right and below makes areas and overlaps the inclusive ones.
        kept = ops.nms(boxes_N4 + boxes_N4.new_tensor([0, 0, 1, 1]), scores_N, iou_above)
        return torch.zeros_like(scores_N, dtype=torch.bool).scatter_(0, kept, True)
    return plain_nms(boxes_N4, scores_N, iou_above)


def plain_nms(boxes_N4: Tensor, scores_N: Tensor, iou_above: float, block: int = 512) -> Tensor:
    """Run `nms` in plain torch: decide the best `block` boxes, let them suppress all that follow, repeat."""
    stays = torch.zeros(len(boxes_N4), dtype=torch.bool, device=boxes_N4.device)
    waiting = scores_N.argsort(descending=True, stable=True)
    while len(waiting):
        best, waiting = waiting[:block], waiting[block:]
        best = best[_find_fixed_point(boxes_N4[best], iou_above)]
        stays[best] = True
        waiting = waiting[~(pairwise_iou(boxes_N4[best], boxes_N4[waiting]) > iou_above).any(dim=0)]
    return stays


def _find_fixed_point(ranked_K4: Tensor, iou_above: float) -> Tensor:
    """Return [K], whether each box stays, best first: boxes that stay suppress later ones."""
    suppresses = (pairwise_iou(ranked_K4, ranked_K4) > iou_above).triu(diagonal=1)
    stays = torch.ones(len(ranked_K4), dtype=torch.bool, device=ranked_K4.device)
    while True:
        update = ~(suppresses & stays[:, None]).any(dim=0)
        if torch.equal(update, stays):
            return stays
        stays = update


def nms_per_label(boxes_N4: Tensor, scores_N: Tensor, labels_N: Tensor, iou_above: float) -> Tensor:
    """Return [N], whether each box stays among those of its own label."""
    stays = torch.zeros(len(labels_N), dtype=torch.bool, device=labels_N.device)
    for label in labels_N.unique():
        of_label = (labels_N == label).nonzero()[:, 0]
        stays[of_label] = nms(boxes_N4[of_label], scores_N[of_label], iou_above)
    return stays
