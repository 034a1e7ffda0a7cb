"""From the model's outputs to scored boxes, by the authors' rules.

A location's score for a phrase is the mean probability of the phrase's tokens. It alone decides which locations are
candidates. Ranking, suppression and the final score use sqrt(phrase score x centerness).
"""

# N locations, T tokens, P phrases, D detections
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.errors import EmptyPhraseError
from teacher.models.glip.box_coder import decode
from teacher.models.glip.nms import nms_per_label
from teacher.models.glip.outputs import GlipGroundingOutput, ImageDetections


@dataclass(frozen=True)
class DetectionRules:
    """Which detections are returned. The defaults are the authors'."""

    threshold: float = 0.05  # exclusive lower bound of the phrase score, before centerness
    nms_iou: float = 0.6
    pre_nms_top_k: int = 1000  # candidates (location, phrase) per level
    max_detections: int = 100  # per image, and all that tie with the last one


def phrase_scores(token_logits_NT: Tensor, phrase_tokens: Sequence[Sequence[int]]) -> Tensor:
    """Return [N, P], the mean probability of each phrase's tokens.

    raises: EmptyPhraseError if a phrase has no token, or one beyond the prompt's width
    """
    width = token_logits_NT.shape[1]
    mean_TP = token_logits_NT.new_zeros(width, len(phrase_tokens))
    for phrase, tokens in enumerate(phrase_tokens):
        if not tokens or min(tokens) < 0 or max(tokens) >= width:
            raise EmptyPhraseError(
                f"phrase {phrase} has the tokens {list(tokens)}, expected at least one, each in 0..{width - 1}: "
                "ask GlipProcessor.phrase_tokens for them"
            )
        mean_TP[list(tokens), phrase] = 1 / len(tokens)
    return token_logits_NT.sigmoid() @ mean_TP


def detect(
    outputs: GlipGroundingOutput,
    image: int,
    phrase_tokens: Sequence[Sequence[int]],
    size: tuple[int, int],
    rules: DetectionRules,
) -> ImageDetections:
    """Return the detections of one image of the batch.

    size: (height, width) of the image inside its padding, to which the boxes are clipped
    """
    classes_NP = phrase_scores(outputs.token_logits[image], phrase_tokens)
    ranks_NP = classes_NP * outputs.centerness_logits[image].sigmoid()[:, None]
    location, labels = _candidates(classes_NP, ranks_NP, outputs.level_shapes, rules)
    scores = ranks_NP[location, labels].sqrt()
    boxes = decode(outputs.box_deltas[image][location], outputs.anchors[location])
    # Inclusive pixels: the last column is width - 1.
    limit = boxes.new_tensor([size[1] - 1, size[0] - 1, size[1] - 1, size[0] - 1])
    boxes = torch.minimum(boxes.clamp(min=0), limit)
    stays = nms_per_label(boxes, scores, labels, rules.nms_iou)
    return _take_best(scores[stays], labels[stays], boxes[stays], rules.max_detections)


def _candidates(
    classes_NP: Tensor, ranks_NP: Tensor, level_shapes: Sequence[tuple[int, int]], rules: DetectionRules
) -> tuple[Tensor, Tensor]:
    """Return (locations, phrases) of the candidates, level by level, at most `pre_nms_top_k` of each level."""
    sizes = [height * width for height, width in level_shapes]
    found, start = [], 0
    for classes, ranks in zip(classes_NP.split(sizes), ranks_NP.split(sizes), strict=True):
        pairs = (classes > rules.threshold).nonzero()
        if len(pairs) > rules.pre_nms_top_k:
            best = ranks[pairs[:, 0], pairs[:, 1]].topk(rules.pre_nms_top_k).indices
            pairs = pairs[best]
        found.append(pairs + pairs.new_tensor([start, 0]))
        start += len(classes)
    locations, phrases = torch.cat(found).unbind(dim=1)
    return locations, phrases


def _take_best(scores: Tensor, labels: Tensor, boxes: Tensor, limit: int) -> ImageDetections:
    if len(scores) > limit:
        lowest = scores.float().kthvalue(len(scores) - limit + 1).values
        kept = scores.float() >= lowest
        scores, labels, boxes = scores[kept], labels[kept], boxes[kept]
    order = scores.argsort(descending=True, stable=True)
    return {"scores": scores[order], "labels": labels[order], "boxes": boxes[order]}


def make_half_open(boxes_D4: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes in inclusive pixels of an image of `size` (height, width) as half-open ones inside it."""
    height, width = size
    limits = boxes_D4.new_tensor([width, height, width, height])
    return torch.minimum((boxes_D4 + boxes_D4.new_tensor([0, 0, 1, 1])).clamp(min=0), limits)
