"""ATSS: which anchors answer for which box. Source: arXiv 1912.02424, with the authors' inclusive-pixel overlap.

Every level offers the anchors nearest to a box; those overlap it by more than mean + standard deviation of all that
were offered, and have their centre inside it, are its positives.
"""

# B images, N anchors, G boxes of all images, K candidates of one box
from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.box_coder import centres_and_sizes, pairwise_iou

UNASSIGNED = -1
# How far inside its box an anchor's centre must lie, in pixels.
INSIDE_BY = 0.01


def assign(anchors_N4: Tensor, level_sizes: list[int], images: list[Tensor], top_k: int) -> Tensor:
    """[B, N] which box each anchor answers for: its place among the boxes of *all* images, or -1 for none.

    level_sizes: anchors per level, in order
    images:      per image its boxes [g, 4]; one without boxes assigns nothing
    top_k:       candidates per level and box

    An anchor claimed by several boxes of its image goes to the one it overlaps most.
    """
    boxes_G4 = torch.cat(images)
    if len(boxes_G4) == 0:
        return torch.full((len(images), len(anchors_N4)), UNASSIGNED, device=anchors_N4.device)
    candidates_KG = _candidates(anchors_N4, level_sizes, boxes_G4, top_k)
    iou_NG = pairwise_iou(anchors_N4, boxes_G4)
    iou_KG = iou_NG.gather(0, candidates_KG)
    # The deviation is the unbiased one (K - 1), as torch's default and the authors' is.
    threshold_G = iou_KG.mean(dim=0) + iou_KG.std(dim=0)
    positive_KG = (iou_KG >= threshold_G) & _centre_inside(anchors_N4, boxes_G4).gather(0, candidates_KG)
    claims_NG = torch.full_like(iou_NG, -1.0)
    claims_NG.scatter_(0, candidates_KG, torch.where(positive_KG, iou_KG, -1.0))
    return _settle(claims_NG, [len(boxes) for boxes in images])


def _settle(claims_NG: Tensor, counts: list[int]) -> Tensor:
    """[B, N] of each image's boxes the one with the largest claim, where there is one; a claim is below 0 for none."""
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
    """[K, G] anchor indices: per level the `top_k` centres nearest to each box's centre."""
    anchor_centre, box_centre = centres_and_sizes(anchors_N4)[0], centres_and_sizes(boxes_G4)[0]
    distance_NG = (anchor_centre[:, None] - box_centre[None]).square().sum(dim=-1).sqrt()
    picked, start = [], 0
    for size in level_sizes:
        level = distance_NG[start : start + size]
        picked.append(level.topk(min(top_k, size), dim=0, largest=False).indices + start)
        start += size
    return torch.cat(picked)


def _centre_inside(anchors_N4: Tensor, boxes_G4: Tensor) -> Tensor:
    """[N, G] whether the anchor's centre lies inside the box by more than `INSIDE_BY` on every side."""
    centre = centres_and_sizes(anchors_N4)[0][:, None]
    sides = torch.cat((centre - boxes_G4[None, :, :2], boxes_G4[None, :, 2:] - centre), dim=-1)
    return sides.amin(dim=-1) > INSIDE_BY
