"""The heads after the tower: which tokens a location aligns with, its box, and how central it is in the box."""

# B images, N locations of all levels, T tokens, C image width, D text width
from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.config import LOGIT_LIMIT, GlipConfig


class TokenAlignment(nn.Module):
    """Alignment logit of each location with each token: a scaled dot product plus a bias per token.

    The bias reads the normalized text feature, the projection half of it, as in the authors' code.
    """

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.projection_norm = config.text_projection_norm
        self.image_projection: nn.Module = nn.Identity()
        if config.image_projection == "linear":
            self.image_projection = nn.Linear(config.channels, config.channels)
        self.text_projection = nn.Linear(config.text_hidden, config.channels)
        self.log_scale = nn.Parameter(torch.tensor([config.log_scale_init]))
        self.text_bias = nn.Parameter(torch.zeros(config.text_hidden))
        self.prior_logit = -math.log((1 - config.prior_probability) / config.prior_probability)
        self.bias = nn.Parameter(torch.tensor([self.prior_logit]))

    def forward(self, image_BNC: Tensor, text_BTD: Tensor) -> Tensor:
        """Return logits [B, N, T]. A text row of zeros has the plain bias."""
        unit_BTD = F.normalize(text_BTD, dim=-1)
        token_bias_BT = unit_BTD @ self.text_bias + self.bias
        similarity: Tensor = self.image_projection(image_BNC) @ self._project(text_BTD, unit_BTD).transpose(
            1, 2
        )
        logits = similarity / self.log_scale.exp() + token_bias_BT[:, None, :]
        return logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)

    def _project(self, text_BTD: Tensor, unit_BTD: Tensor) -> Tensor:
        if self.projection_norm == "input":
            half: Tensor = self.text_projection(unit_BTD / 2)
            return half
        projected: Tensor = self.text_projection(text_BTD)
        return F.normalize(projected, dim=-1) if self.projection_norm == "output" else projected


class BoxHead(nn.Module):
    """Box deltas, scaled by a learned number per level, and centerness, both from 1x1 convolutions."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.box = nn.Conv2d(config.channels, 4, 1)
        self.centerness = nn.Conv2d(config.channels, 1, 1)
        self.level_scales = nn.ParameterList(nn.Parameter(torch.ones(1)) for _ in range(config.num_levels))

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return deltas [B, N, 4] and centerness logits [B, N] of level maps [B, C, H_l, W_l]."""
        deltas = [self.box(level) * scale for level, scale in zip(levels, self.level_scales, strict=True)]
        return flatten_levels(deltas), flatten_levels([self.centerness(level) for level in levels])[..., 0]


def flatten_levels(levels: list[Tensor]) -> Tensor:
    """Return maps [B, C, H_l, W_l] as [B, N, C]: level by level, rows, then columns."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def split_levels(flat_BNC: Tensor, level_shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Return the level maps of flat features: the inverse of `flatten_levels`."""
    parts = flat_BNC.split([height * width for height, width in level_shapes], dim=1)
    shaped = zip(parts, level_shapes, strict=True)
    # [B, H*W, C] -> [B, C, H, W]: a view with channels-last memory, the faster layout for convolutions
    return [part.transpose(1, 2).unflatten(2, shape) for part, shape in shaped]
