"""Greedy non-maximum suppression on inclusive pixels, each label for itself, in plain torch.

It gives what the one-by-one loop gives, without looping over boxes: a box stays when no box that stays suppresses it,
and repeating that rule from "all stay" settles after as many rounds as the longest chain of suppressions.
"""

# N boxes
from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.box_coder import pairwise_iou
from teacher.models.glip.layers.torchvision_ops import torchvision_ops


def nms(boxes_N4: Tensor, scores_N: Tensor, iou_above: float) -> Tensor:
    """[N] whether each box stays; an earlier box wins a tie of scores.

    iou_above: a box is suppressed by a better one when their IoU is greater than this; from 1 on none is
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
    """The same in plain torch. The best `block` boxes settle among themselves, then suppress all that follow."""
    stays = torch.zeros(len(boxes_N4), dtype=torch.bool, device=boxes_N4.device)
    waiting = scores_N.argsort(descending=True, stable=True)
    while len(waiting):
        best, waiting = waiting[:block], waiting[block:]
        best = best[_settled(boxes_N4[best], iou_above)]
        stays[best] = True
        waiting = waiting[~(pairwise_iou(boxes_N4[best], boxes_N4[waiting]) > iou_above).any(dim=0)]
    return stays


def _settled(ranked_K4: Tensor, iou_above: float) -> Tensor:
    """[K] whether each box stays, best first: each is suppressed by those that stay before it."""
    suppresses = (pairwise_iou(ranked_K4, ranked_K4) > iou_above).triu(diagonal=1)
    stays = torch.ones(len(ranked_K4), dtype=torch.bool, device=ranked_K4.device)
    while True:
        settled = ~(suppresses & stays[:, None]).any(dim=0)
        if torch.equal(settled, stays):
            return stays
        stays = settled


def nms_per_label(boxes_N4: Tensor, scores_N: Tensor, labels_N: Tensor, iou_above: float) -> Tensor:
    """[N] whether each box stays among those of its own label."""
    stays = torch.zeros(len(labels_N), dtype=torch.bool, device=labels_N.device)
    for label in labels_N.unique():
        of_label = (labels_N == label).nonzero()[:, 0]
        stays[of_label] = nms(boxes_N4[of_label], scores_N[of_label], iou_above)
    return stays
