"""The three losses of GLIP: token alignment (focal), box (GIoU), centerness (cross-entropy), weights applied.

Labels without the optional entries give the authors' loss exactly. The optional entries say what a pseudo label is
worth: weights multiply the terms of a box's anchors, masks take tokens out, and the normalisers count anchors whatever
the weights say.
"""

# B images, N locations, T tokens, G boxes of all images, M ignore boxes of one image, P positives of the batch
from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from teacher.models.glip.assigner import UNASSIGNED, assign
from teacher.models.glip.box_coder import centres_and_sizes, decode, generalized_iou
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.outputs import GlipGroundingOutput


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
class _Taught:
    """The boxes of all images in one table. Token entries have one row more, the last: that of the background.

    The assigner's -1 for "none" thus indexes the background.
    """

    boxes_G4: Tensor
    box_weight_G: Tensor
    tokens_GT: Tensor
    token_weight_G: Tensor


def grounding_losses(
    outputs: GlipGroundingOutput,
    attention_mask_BT: Tensor,
    labels: list[ImageLabels],
    config: GlipConfig,
    counts: Tensor | None = None,
) -> dict[str, Tensor]:
    """`loss_dot_product_token`, `loss_reg` and `loss_centerness`, each a scalar; their plain sum is the loss.

    counts: [2] of `normalisers.label_counts` over a whole step, averaged over workers, where these images are a part
            of it; None counts these images, averaged over workers

    raises: ValueError for another number of labels than images, or entries of a label that do not fit together
    """
    _check(labels, *attention_mask_BT.shape)
    anchors = outputs.anchors
    level_sizes = [height * width for height, width in outputs.level_shapes]
    with torch.no_grad():
        taught = _taught(labels, anchors, attention_mask_BT.shape[1], config)
        boxes = [image["boxes"].to(anchors) for image in labels]
        owner_BN = assign(anchors, level_sizes, boxes, config.assigner_top_k)
        heard_BNT = _heard(anchors, owner_BN, attention_mask_BT, labels)
        # The authors clamp the mean to 1; the sum, so that workers are one batch also where positives are fewer.
        found = (owner_BN != UNASSIGNED).sum().to(anchors)
        positives = (_mean_over_workers(found) if counts is None else counts[0]).clamp(min=1 / _workers())
    token_losses = focal_loss(
        outputs.token_logits, taught.tokens_GT[owner_BN], config.focal_alpha, config.focal_gamma
    )
    token = ((token_losses * heard_BNT).sum(dim=-1) * taught.token_weight_G[owner_BN]).sum()
    box, central = _box_losses(outputs, taught, owner_BN, None if counts is None else counts[1])
    return {
        "loss_dot_product_token": token / positives * config.token_loss_weight,
        "loss_reg": box * config.box_loss_weight,
        "loss_centerness": central / positives * config.centerness_loss_weight,
    }


def _check(labels: list[ImageLabels], images: int, width: int) -> None:
    """Rows of all images stand in one table, so a row too many would teach the next image another's tokens."""
    if len(labels) != images:
        raise ValueError(f"{len(labels)} labels for a batch of {images} images; one for each is needed")
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
        # Ignore boxes without their map would be heard as if they were none.
        missing = {"ignore_map"} - set(label) if ignored else set()
        shapes = {name: tuple(value.shape) for name, value in label.items() if name in expected}
        wrong = {name: shape for name, shape in shapes.items() if shape != expected[name]}
        if wrong or missing:
            told = [
                f"{name} {list(shape)} instead of {list(expected[name])}" for name, shape in wrong.items()
            ]
            raise ValueError(
                f"labels of image {index}: {', '.join([*told, *(f'no {n}' for n in missing)])} ({boxes} boxes, "
                f"{width} tokens)"
            )


def _taught(labels: list[ImageLabels], anchors_N4: Tensor, width: int, config: GlipConfig) -> _Taught:
    def column(name: str) -> Tensor:
        ones = (torch.ones(len(image["boxes"])) for image in labels)
        return torch.cat(
            [image.get(name, one).to(anchors_N4) for image, one in zip(labels, ones, strict=True)]
        )

    background = anchors_N4.new_zeros(1, width)
    if config.no_object_token is not None and config.no_object_token < width:
        background[:, config.no_object_token] = 1
    tokens = [(image["positive_map"] > 0).to(anchors_N4) for image in labels]
    return _Taught(
        boxes_G4=torch.cat([image["boxes"].to(anchors_N4) for image in labels]),
        box_weight_G=column("box_weight"),
        tokens_GT=torch.cat([*tokens, background]),
        token_weight_G=torch.cat((column("token_weight"), anchors_N4.new_ones(1))),
    )


def _heard(anchors_N4: Tensor, owner_BN: Tensor, mask_BT: Tensor, labels: list[ImageLabels]) -> Tensor:
    """[B, N, T] one where a token's logit counts: not padding, not masked, not ignored at this location."""
    heard_BT = (mask_BT > 0).to(anchors_N4)
    for image, label in enumerate(labels):
        if "token_mask" in label:
            heard_BT[image] *= (label["token_mask"] > 0).to(heard_BT)
    heard_BNT = heard_BT[:, None].expand(-1, len(anchors_N4), -1)
    if not any(len(label.get("ignore_boxes", ())) for label in labels):
        return heard_BNT
    heard_BNT = heard_BNT.clone()
    for image, label in enumerate(labels):
        if len(label.get("ignore_boxes", ())):
            inside_NM = _centre_inside(anchors_N4, label["ignore_boxes"].to(anchors_N4))
            ignored_NM = (inside_NM & (owner_BN[image] == UNASSIGNED)[:, None]).to(heard_BNT)
            heard_BNT[image] *= ignored_NM @ (label["ignore_map"] > 0).to(heard_BNT) == 0
    return heard_BNT


def _centre_inside(anchors_N4: Tensor, boxes_M4: Tensor) -> Tensor:
    """[N, M] whether the anchor's centre lies in the box."""
    centre = centres_and_sizes(anchors_N4)[0][:, None]
    return ((centre >= boxes_M4[:, :2]) & (centre <= boxes_M4[:, 2:])).all(dim=-1)


def focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise sigmoid focal loss, same shape as `logits`; target is 0 or 1."""
    probability = logits.sigmoid()
    missed = torch.where(target > 0, 1 - probability, probability)
    balance = alpha * target + (1 - alpha) * (1 - target)
    return balance * missed**gamma * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _box_losses(
    outputs: GlipGroundingOutput, taught: _Taught, owner_BN: Tensor, counted: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(box loss: centerness-weighted mean of 1 - GIoU, centerness loss: sum); zeros where nothing is positive."""
    positive_BN = owner_BN != UNASSIGNED
    owner_P = owner_BN[positive_BN]
    anchors = outputs.anchors.expand(len(owner_BN), -1, -1)[positive_BN]
    boxes, weight = taught.boxes_G4[owner_P], taught.box_weight_G[owner_P]
    with torch.no_grad():
        central = centerness(anchors, boxes)
        mean = _mean_over_workers(central.sum()) if counted is None else counted
        normaliser = mean.clamp(min=torch.finfo(central.dtype).tiny)
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
    if _workers() == 1:
        return value
    torch.distributed.all_reduce(value)
    return value / _workers()


def _workers() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1
