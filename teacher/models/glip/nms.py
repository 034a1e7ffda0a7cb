"""Greedy non-maximum suppression on inclusive pixels, each label for itself, in plain torch.

It gives what the one-by-one loop gives, without looping over boxes: a box stays when no box that stays suppresses it,
and repeating that rule from "all stay" settles after as many rounds as the longest chain of suppressions.
"""

# N boxes
from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.box_coder import pairwise_iou


def nms(boxes_N4: Tensor, scores_N: Tensor, iou_above: float) -> Tensor:
    """[N] whether each box stays; an earlier box wins a tie of scores.

    iou_above: a box is suppressed by a better one when their IoU is greater than this
    """
    order = scores_N.argsort(descending=True, stable=True)
    ranked = boxes_N4[order]
    suppresses = (pairwise_iou(ranked, ranked) > iou_above).triu(diagonal=1)
    stays = torch.ones(len(order), dtype=torch.bool, device=order.device)
    while True:
        settled = ~(suppresses & stays[:, None]).any(dim=0)
        if torch.equal(settled, stays):
            return torch.zeros_like(stays).scatter_(0, order, stays)
        stays = settled


def nms_per_label(boxes_N4: Tensor, scores_N: Tensor, labels_N: Tensor, iou_above: float) -> Tensor:
    """[N] whether each box stays among those of its own label."""
    stays = torch.zeros(len(labels_N), dtype=torch.bool, device=labels_N.device)
    for label in labels_N.unique():
        of_label = (labels_N == label).nonzero()[:, 0]
        stays[of_label] = nms(boxes_N4[of_label], scores_N[of_label], iou_above)
    return stays
