"""OWL-ViT and OWLv2 in the parts that a labeler runs one by one: images once, each text once, scores per question.

Imports torch, so it is imported only where a model is loaded.
"""

# B images, N patches (each has one box), D width of the image features, Q queries, E width of the query features
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import nn
from transformers import Owlv2ForObjectDetection, OwlViTForObjectDetection

if TYPE_CHECKING:
    from transformers import Owlv2Model, OwlViTModel


class ImageParts(NamedTuple):
    """What the model finds in images without any text."""

    patches_BND: torch.Tensor
    boxes_BN4: torch.Tensor
    """Center x, center y, width, height, as fractions of the model's input."""
    objectness_BN: torch.Tensor | None
    """Logits; None for OWL-ViT, which has none."""


class OwlParts(nn.Module):
    """Gives access to the parts of a detector. Its `forward` is the image part, so that it is what is compiled.

    The heads run in 32-bit floats whatever the precision of the rest: they are a small share of the work, and a box in
    bfloat16 is rounded to 1/256 of the image.
    """

    def __init__(self, detector: OwlViTForObjectDetection | Owlv2ForObjectDetection) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels_B3HW: torch.Tensor) -> ImageParts:
        """Return the features and boxes of images."""
        grid = self.detector.image_embedder(pixel_values=pixels_B3HW)[0]
        with torch.autocast(pixels_B3HW.device.type, enabled=False):
            patches_BND = grid.float().flatten(1, 2)
            boxes_BN4 = self.detector.box_predictor(patches_BND, grid.float())
            if isinstance(self.detector, Owlv2ForObjectDetection):
                return ImageParts(patches_BND, boxes_BN4, self.detector.objectness_predictor(patches_BND))
        return ImageParts(patches_BND, boxes_BN4, None)

    def encode_texts(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Return the query features [B, E] of texts, of length one, as `forward` of the whole model computes them."""
        base = cast("OwlViTModel | Owlv2Model", self.detector.base_model)
        outputs = base.get_text_features(input_ids=ids_BT, attention_mask=mask_BT, return_dict=True)
        features_BE = outputs.pooler_output.float()
        return cast("torch.Tensor", features_BE / torch.linalg.norm(features_BE, ord=2, dim=-1, keepdim=True))

    def score(self, patches_BND: torch.Tensor, queries_BQE: torch.Tensor) -> torch.Tensor:
        """Return the score [B, N, Q] of each query in each patch, 0..1."""
        with torch.autocast(patches_BND.device.type, enabled=False):
            found = self.detector.class_predictor(patches_BND, queries_BQE)
            return found[0].sigmoid()
