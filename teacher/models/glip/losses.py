"""The three losses of GLIP: token alignment (focal), box (GIoU), centerness (cross-entropy), weights applied.

Labels without the optional entries give the authors' loss exactly. The optional entries say what a pseudo label is
worth: weights multiply the terms of a box's anchors, masks take tokens out, and the normalisers count anchors whatever
the weights say.
"""

# N locations, T tokens, G boxes of one image, M ignore boxes, P positives of the batch
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from teacher.models.glip.assigner import UNASSIGNED, assign
from teacher.models.glip.box_coder import centres_and_sizes, decode, generalized_iou
from teacher.models.glip.config import GlipConfig

if TYPE_CHECKING:
    from teacher.models.glip.modeling import GlipGroundingOutput


class ImageLabels(TypedDict):
    """What one image teaches. Boxes are xyxy in inclusive pixels of the network input; an image may have none."""

    boxes: Tensor  # [G, 4]
    positive_map: Tensor  # [G, T], above zero where a token speaks of the box
    box_weight: NotRequired[Tensor]  # [G], multiplies box and centerness terms of the box's anchors
    token_weight: NotRequired[Tensor]  # [G], multiplies all token terms of the box's anchors
    ignore_boxes: NotRequired[Tensor]  # [M, 4]; an unassigned anchor whose centre lies in one ...
    ignore_map: NotRequired[Tensor]  # [M, T]; ... has the tokens marked here left out of the loss
    token_mask: NotRequired[Tensor]  # [T], zero where a token is left out everywhere


@dataclass
class _Targets:
    """One image's targets for all its anchors."""

    owner_N: Tensor
    tokens_NT: Tensor
    token_weight_NT: Tensor
    boxes_P4: Tensor
    box_weight_P: Tensor


def grounding_losses(
    outputs: GlipGroundingOutput, attention_mask_BT: Tensor, labels: list[ImageLabels], config: GlipConfig
) -> dict[str, Tensor]:
    """`loss_dot_product_token`, `loss_reg` and `loss_centerness`, each a scalar; their plain sum is the loss."""
    if len(labels) != len(attention_mask_BT):
        raise ValueError(
            f"{len(labels)} labels for a batch of {len(attention_mask_BT)} images; one for each is needed"
        )
    level_sizes = [height * width for height, width in outputs.level_shapes]
    with torch.no_grad():
        targets = [
            _image_targets(outputs.anchors, level_sizes, mask, image, config)
            for mask, image in zip(attention_mask_BT, labels, strict=True)
        ]
        positive = torch.stack([target.owner_N for target in targets]) != UNASSIGNED
        num_positive = _mean_over_workers(positive.sum().to(outputs.anchors.dtype)).clamp(min=1)
    token = _token_loss(outputs.token_logits, targets, config) / num_positive
    box, centerness = _box_losses(outputs, targets, positive)
    return {
        "loss_dot_product_token": token * config.token_loss_weight,
        "loss_reg": box * config.box_loss_weight,
        "loss_centerness": centerness / num_positive * config.centerness_loss_weight,
    }


def _image_targets(
    anchors_N4: Tensor, level_sizes: list[int], mask_T: Tensor, image: ImageLabels, config: GlipConfig
) -> _Targets:
    boxes = image["boxes"].to(anchors_N4)
    owner_N = assign(anchors_N4, level_sizes, boxes, config.assigner_top_k)
    positive_N = owner_N != UNASSIGNED
    owner_P = owner_N[positive_N]
    tokens_NT = anchors_N4.new_zeros(len(anchors_N4), len(mask_T))
    if config.no_object_token is not None and config.no_object_token < len(mask_T):
        tokens_NT[:, config.no_object_token] = 1
    tokens_NT[positive_N] = (image["positive_map"][owner_P] > 0).to(tokens_NT)
    box_weight = image.get("box_weight", torch.ones(len(boxes))).to(anchors_N4)
    return _Targets(
        owner_N,
        tokens_NT,
        _token_weights(anchors_N4, owner_N, mask_T, image),
        boxes[owner_P],
        box_weight[owner_P],
    )


def _token_weights(anchors_N4: Tensor, owner_N: Tensor, mask_T: Tensor, image: ImageLabels) -> Tensor:
    """[N, T], or [1, T] where all anchors agree: padding is 0, and what the optional labels take away."""
    weight_NT = (mask_T > 0).to(anchors_N4)[None]
    if "token_mask" in image:
        weight_NT = weight_NT * (image["token_mask"] > 0).to(weight_NT)
    if "token_weight" in image:
        own_N = torch.cat((image["token_weight"].to(weight_NT), weight_NT.new_ones(1)))[owner_N]
        weight_NT = weight_NT * own_N[:, None]  # owner -1 reads the appended 1
    if "ignore_boxes" in image and len(image["ignore_boxes"]):
        ignored_NM = (
            _inside(anchors_N4, image["ignore_boxes"].to(weight_NT)) & (owner_N == UNASSIGNED)[:, None]
        )
        ignored_NT = ignored_NM.to(weight_NT) @ (image["ignore_map"] > 0).to(weight_NT)
        weight_NT = weight_NT * (ignored_NT == 0)
    return weight_NT


def _inside(anchors_N4: Tensor, boxes_M4: Tensor) -> Tensor:
    """[N, M] whether the anchor's centre lies in the box."""
    centre = centres_and_sizes(anchors_N4)[0][:, None]
    return ((centre >= boxes_M4[:, :2]) & (centre <= boxes_M4[:, 2:])).all(dim=-1)


def _token_loss(logits_BNT: Tensor, targets: list[_Targets], config: GlipConfig) -> Tensor:
    """Sum of the sigmoid focal loss over locations and tokens; source: arXiv 1708.02002."""
    target = torch.stack([image.tokens_NT for image in targets])
    losses = focal_loss(logits_BNT, target, config.focal_alpha, config.focal_gamma)
    return torch.stack(
        [(loss * image.token_weight_NT).sum() for loss, image in zip(losses, targets, strict=True)]
    ).sum()


def focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise sigmoid focal loss, same shape as `logits`; target is 0 or 1."""
    probability = logits.sigmoid()
    missed = torch.where(target > 0, 1 - probability, probability)
    balance = alpha * target + (1 - alpha) * (1 - target)
    return balance * missed**gamma * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _box_losses(
    outputs: GlipGroundingOutput, targets: list[_Targets], positive_BN: Tensor
) -> tuple[Tensor, Tensor]:
    """(box loss: centerness-weighted mean of 1 - GIoU, centerness loss: sum); zeros where nothing is positive."""
    anchors = outputs.anchors.expand(len(targets), -1, -1)[positive_BN]
    boxes = torch.cat([target.boxes_P4 for target in targets])
    weight = torch.cat([target.box_weight_P for target in targets])
    with torch.no_grad():
        central = centerness(anchors, boxes)
        normaliser = _mean_over_workers(central.sum()).clamp(min=torch.finfo(central.dtype).tiny)
    overlap = generalized_iou(decode(outputs.box_deltas[positive_BN], anchors), boxes)
    box = ((1 - overlap) * central * weight).sum() / normaliser
    logits = outputs.centerness_logits[positive_BN]
    return box, F.binary_cross_entropy_with_logits(logits, central, weight=weight, reduction="sum")


def centerness(anchors_P4: Tensor, boxes_P4: Tensor) -> Tensor:
    """[P] in (0, 1]: 1 where the anchor's centre is the box's; it must lie inside. Source: FCOS, arXiv 1904.01355."""
    centre = centres_and_sizes(anchors_P4)[0]
    before, after = centre - boxes_P4[:, :2], boxes_P4[:, 2:] - centre
    return (torch.minimum(before, after) / torch.maximum(before, after)).prod(dim=-1).sqrt()


def _mean_over_workers(value: Tensor) -> Tensor:
    """The value averaged over data-parallel workers, so that every image of the global batch weighs the same."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()
