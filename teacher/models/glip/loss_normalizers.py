"""The numbers that the losses are divided by, from labels alone, so they are known before any forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.assigner import UNASSIGNED, assign
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.losses import ImageLabels, centerness


@torch.no_grad()
def label_counts(
    labels: list[ImageLabels], image_hw: tuple[int, int], config: GlipConfig, device: torch.device
) -> Tensor:
    """Return [2]: positive anchors, and the sum of their centerness targets, of images of one padded size.

    The losses are divided by the sums over all parts of a step, so a step has the same gradient however it is split.
    image_hw: padded (height, width) of the network's input
    """
    shapes = [(-(-image_hw[0] // stride), -(-image_hw[1] // stride)) for stride in config.strides]
    anchors = grid_anchors(tuple(shapes), config.anchor_scale, device)
    boxes = [image["boxes"].to(anchors) for image in labels]
    owner_BN = assign(anchors, [height * width for height, width in shapes], boxes, config.assigner_top_k)
    positive_BN = owner_BN != UNASSIGNED
    central = centerness(
        anchors.expand(len(owner_BN), -1, -1)[positive_BN], torch.cat(boxes)[owner_BN[positive_BN]]
    )
    return torch.stack([positive_BN.sum().to(anchors), central.sum()])
