"""ATSS: assign anchors to boxes. Source: arXiv 1912.02424, with the authors' inclusive-pixel overlap.

The candidates of a box are the nearest anchors of each level. Positive are the candidates whose overlap is at least
mean + standard deviation of all candidates' overlaps, and whose center is inside the box.
"""

# B images, N anchors, G boxes of all images, K candidates of one box
from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.box_coder import centers_and_sizes, pairwise_iou

UNASSIGNED = -1
# How far inside its box an anchor's center must be, in pixels.
INSIDE_BY = 0.01


def assign(anchors_N4: Tensor, level_sizes: list[int], images: list[Tensor], top_k: int) -> Tensor:
    """Return [B, N], the box of each anchor: its index among the boxes of *all* images, or -1 for none.

    level_sizes: anchors per level, in order
    images:      boxes [g, 4] of each image; may be empty
    top_k:       candidates per level and box

    An anchor that is positive for several boxes of its image gets the one it overlaps most.
    """
    boxes_G4 = torch.cat(images)
    if len(boxes_G4) == 0:
        return torch.full((len(images), len(anchors_N4)), UNASSIGNED, device=anchors_N4.device)
    candidates_KG = _candidates(anchors_N4, level_sizes, boxes_G4, top_k)
    iou_NG = pairwise_iou(anchors_N4, boxes_G4)
    iou_KG = iou_NG.gather(0, candidates_KG)
    # The unbiased deviation (K - 1), as the authors use it. It is torch's default.
    threshold_G = iou_KG.mean(dim=0) + iou_KG.std(dim=0)
    positive_KG = (iou_KG >= threshold_G) & _center_is_inside(anchors_N4, boxes_G4).gather(0, candidates_KG)
    claims_NG = torch.full_like(iou_NG, -1.0)
    claims_NG.scatter_(0, candidates_KG, torch.where(positive_KG, iou_KG, -1.0))
    return _choose_owners(claims_NG, [len(boxes) for boxes in images])


def _choose_owners(claims_NG: Tensor, counts: list[int]) -> Tensor:
    """Return [B, N], for each image the box with the largest claim. A claim below 0 means none."""
    owners, start = [], 0
    for count in counts:
        if count:
            best, owner = claims_NG[:, start : start + count].max(dim=1)
            owners.append(torch.where(best >= 0, owner + start, UNASSIGNED))
        else:
            owners.append(torch.full((len(claims_NG),), UNASSIGNED, device=claims_NG.device))
        start += count
    return torch.stack(owners)


def _candidates(anchors_N4: Tensor, level_sizes: list[int], boxes_G4: Tensor, top_k: int) -> Tensor:
    """Return [K, G] anchor indices: per level the `top_k` centers nearest to each box's center."""
    anchor_center, box_center = centers_and_sizes(anchors_N4)[0], centers_and_sizes(boxes_G4)[0]
    distance_NG = (anchor_center[:, None] - box_center[None]).square().sum(dim=-1).sqrt()
    picked, start = [], 0
    for size in level_sizes:
        level = distance_NG[start : start + size]
        picked.append(level.topk(min(top_k, size), dim=0, largest=False).indices + start)
        start += size
    return torch.cat(picked)


def _center_is_inside(anchors_N4: Tensor, boxes_G4: Tensor) -> Tensor:
    """Return [N, G], whether the anchor's center is inside the box by more than `INSIDE_BY` on every side."""
    center = centers_and_sizes(anchors_N4)[0][:, None]
    sides = torch.cat((center - boxes_G4[None, :, :2], boxes_G4[None, :, 2:] - center), dim=-1)
    return sides.amin(dim=-1) > INSIDE_BY
