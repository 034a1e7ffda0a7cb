"""The three losses of GLIP: token alignment (focal), box (GIoU) and centerness (cross-entropy), with weights.

Labels without the optional entries give the authors' loss exactly. The optional entries describe pseudo labels:
weights multiply the terms of a box's anchors, masks leave tokens out. The normalizers count anchors without weights.
"""

# B images, N locations, T tokens, G boxes of all images, M ignore boxes of one image, P positives of the batch
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from teacher.models.glip.assigner import UNASSIGNED, assign
from teacher.models.glip.box_coder import centers_and_sizes, decode, generalized_iou
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.outputs import GlipGroundingOutput


class ImageLabels(TypedDict):
    """Labels of one image. Boxes are xyxy in inclusive pixels of the network input. An image may have none."""

    boxes: Tensor  # [G, 4]
    positive_map: Tensor  # [G, T], above zero where a token belongs to the box
    box_weight: NotRequired[Tensor]  # [G], multiplies box and centerness terms of the box's anchors
    token_weight: NotRequired[Tensor]  # [G], multiplies all token terms of the box's anchors
    ignore_boxes: NotRequired[Tensor]  # [M, 4]; an unassigned anchor whose center is in one ...
    ignore_map: NotRequired[Tensor]  # [M, T]; ... has no loss for the tokens marked here
    token_mask: NotRequired[Tensor]  # [T], zero where a token has no loss anywhere


@dataclass
class _Targets:
    """The boxes of all images in one table. Token entries have one more row at the end, the background's.

    So the assigner's -1 for "none" indexes the background.
    """

    boxes_G4: Tensor
    box_weight_G: Tensor
    tokens_GT: Tensor
    token_weight_G: Tensor


def compute_losses(
    outputs: GlipGroundingOutput,
    attention_mask_BT: Tensor,
    labels: list[ImageLabels],
    config: GlipConfig,
    counts: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return `loss_dot_product_token`, `loss_reg` and `loss_centerness`, each a scalar. Their sum is the loss.

    counts: [2] of `loss_normalizers.label_counts` over a whole step, averaged over workers, if these images are a part
            of it; None counts these images, averaged over workers
    raises: ValueError if the numbers of labels and images differ, or entries of a label have the wrong shape
    """
    _check_shapes(labels, *attention_mask_BT.shape)
    anchors = outputs.anchors
    level_sizes = [height * width for height, width in outputs.level_shapes]
    with torch.no_grad():
        targets = _collect_targets(labels, anchors, attention_mask_BT.shape[1], config)
        boxes = [image["boxes"].to(anchors) for image in labels]
        owner_BN = assign(anchors, level_sizes, boxes, config.assigner_top_k)
        mask_BNT = _make_token_mask(anchors, owner_BN, attention_mask_BT, labels)
        # The authors clamp the mean to 1. We clamp the sum, so workers act as one batch even with fewer positives.
        assigned = (owner_BN != UNASSIGNED).sum().to(anchors)
        positives = (_mean_over_workers(assigned) if counts is None else counts[0]).clamp(
            min=1 / _count_workers()
        )
    token_losses = focal_loss(
        outputs.token_logits, targets.tokens_GT[owner_BN], config.focal_alpha, config.focal_gamma
    )
    token = ((token_losses * mask_BNT).sum(dim=-1) * targets.token_weight_G[owner_BN]).sum()
    box, central = _box_losses(outputs, targets, owner_BN, None if counts is None else counts[1])
    return {
        "loss_dot_product_token": token / positives * config.token_loss_weight,
        "loss_reg": box * config.box_loss_weight,
        "loss_centerness": central / positives * config.centerness_loss_weight,
    }


def _check_shapes(labels: list[ImageLabels], images: int, width: int) -> None:
    """Raise ValueError for a wrong shape. Rows of all images share a table, so an extra row would shift the others."""
    if len(labels) != images:
        raise ValueError(f"{len(labels)} labels for a batch of {images} images; expected one for each image")
    for index, label in enumerate(labels):
        boxes, ignored = len(label["boxes"]), len(label.get("ignore_boxes", ()))
        expected = {
            "boxes": (boxes, 4),
            "positive_map": (boxes, width),
            "box_weight": (boxes,),
            "token_weight": (boxes,),
            "ignore_boxes": (ignored, 4),
            "ignore_map": (ignored, width),
            "token_mask": (width,),
        }
        # Ignore boxes without their map would have no effect.
        missing = {"ignore_map"} - set(label) if ignored else set()
        entries = cast("dict[str, Tensor]", label)
        shapes = {name: tuple(value.shape) for name, value in entries.items() if name in expected}
        wrong = {name: shape for name, shape in shapes.items() if shape != expected[name]}
        if wrong or missing:
            problems = [
                f"{name} {list(shape)} instead of {list(expected[name])}" for name, shape in wrong.items()
            ]
            raise ValueError(
                f"labels of image {index}: {', '.join([*problems, *(f'no {n}' for n in missing)])} ({boxes} boxes, "
                f"{width} tokens)"
            )


def _collect_targets(
    labels: list[ImageLabels], anchors_N4: Tensor, width: int, config: GlipConfig
) -> _Targets:
    def concatenate(name: Literal["box_weight", "token_weight"]) -> Tensor:
        ones = (torch.ones(len(image["boxes"])) for image in labels)
        return torch.cat(
            [image.get(name, one).to(anchors_N4) for image, one in zip(labels, ones, strict=True)]
        )

    background = anchors_N4.new_zeros(1, width)
    if config.no_object_token is not None and config.no_object_token < width:
        background[:, config.no_object_token] = 1
    tokens = [(image["positive_map"] > 0).to(anchors_N4) for image in labels]
    return _Targets(
        boxes_G4=torch.cat([image["boxes"].to(anchors_N4) for image in labels]),
        box_weight_G=concatenate("box_weight"),
        tokens_GT=torch.cat([*tokens, background]),
        token_weight_G=torch.cat((concatenate("token_weight"), anchors_N4.new_ones(1))),
    )


def _make_token_mask(
    anchors_N4: Tensor, owner_BN: Tensor, attention_mask_BT: Tensor, labels: list[ImageLabels]
) -> Tensor:
    """Return [B, N, T], one where a token's logit counts: not padding, not masked, not ignored at this location."""
    mask_BT = (attention_mask_BT > 0).to(anchors_N4)
    for image, label in enumerate(labels):
        if "token_mask" in label:
            mask_BT[image] *= (label["token_mask"] > 0).to(mask_BT)
    mask_BNT = mask_BT[:, None].expand(-1, len(anchors_N4), -1)
    if not any(len(label.get("ignore_boxes", ())) for label in labels):
        return mask_BNT
    mask_BNT = mask_BNT.clone()
    for image, label in enumerate(labels):
        if len(label.get("ignore_boxes", ())):
            inside_NM = _center_is_in_ignore_box(anchors_N4, label["ignore_boxes"].to(anchors_N4))
            ignored_NM = (inside_NM & (owner_BN[image] == UNASSIGNED)[:, None]).to(mask_BNT)
            mask_BNT[image] *= ignored_NM @ (label["ignore_map"] > 0).to(mask_BNT) == 0
    return mask_BNT


def _center_is_in_ignore_box(anchors_N4: Tensor, boxes_M4: Tensor) -> Tensor:
    """Return [N, M], whether the anchor's center is in the box."""
    center = centers_and_sizes(anchors_N4)[0][:, None]
    return ((center >= boxes_M4[:, :2]) & (center <= boxes_M4[:, 2:])).all(dim=-1)


def focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the elementwise sigmoid focal loss, same shape as `logits`. Targets are 0 or 1."""
    probability = logits.sigmoid()
    missed = torch.where(target > 0, 1 - probability, probability)
    balance = alpha * target + (1 - alpha) * (1 - target)
    return balance * missed**gamma * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _box_losses(
    outputs: GlipGroundingOutput, targets: _Targets, owner_BN: Tensor, central_sum: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return (box loss: centerness-weighted mean of 1 - GIoU, centerness loss: sum), zeros without positives."""
    positive_BN = owner_BN != UNASSIGNED
    owner_P = owner_BN[positive_BN]
    anchors = outputs.anchors.expand(len(owner_BN), -1, -1)[positive_BN]
    boxes, weight = targets.boxes_G4[owner_P], targets.box_weight_G[owner_P]
    with torch.no_grad():
        central = centerness(anchors, boxes)
        mean = _mean_over_workers(central.sum()) if central_sum is None else central_sum
        normalizer = mean.clamp(min=torch.finfo(central.dtype).tiny)
    overlap = generalized_iou(decode(outputs.box_deltas[positive_BN], anchors), boxes)
    box = ((1 - overlap) * central * weight).sum() / normalizer
    logits = outputs.centerness_logits[positive_BN]
    return box, F.binary_cross_entropy_with_logits(logits, central, weight=weight, reduction="sum")


def centerness(anchors_P4: Tensor, boxes_P4: Tensor) -> Tensor:
    """Return [P] in (0, 1], 1 if the anchor's center, which must be inside, is the box's. Source: arXiv 1904.01355."""
    center = centers_and_sizes(anchors_P4)[0]
    before, after = center - boxes_P4[:, :2], boxes_P4[:, 2:] - center
    return (torch.minimum(before, after) / torch.maximum(before, after)).prod(dim=-1).sqrt()


def _mean_over_workers(value: Tensor) -> Tensor:
    """Return the value averaged over data-parallel workers, so every image of the global batch has equal weight."""
    if _count_workers() == 1:
        return value
    torch.distributed.all_reduce(value)
    return value / _count_workers()


def _count_workers() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1
