"""The dynamic head's block: each level gathers itself and its neighbours, weighs them, and activates dynamically.

Weights are shared by all levels. Source: Dynamic Head, arXiv 2106.08322, as the GLIP authors built it.
"""

# B images, C channels, H rows, W columns; level maps finest first
from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.config import GlipConfig
from teacher.models.glip.layers.deform_conv import DeformConv

TAPS = 9


def flat_memory_read(finer_BCHW: Tensor, size: torch.Size) -> Tensor:
    """The first C*h*w numbers of each image, laid out anew as [B, C, h, w].

    This is what the authors' operator does when a coarse map is convolved with the finer level's offsets: it never
    checks the shape and strides through the memory as if it were coarse. Released weights were trained that way.
    """
    batch, channels = finer_BCHW.shape[:2]
    height, width = size
    return finer_BCHW.flatten(1)[:, : channels * height * width].view(batch, channels, height, width)


def resized_read(finer_BCHW: Tensor, size: torch.Size) -> Tensor:
    """What one would expect instead of `flat_memory_read`: the finer level's values resampled to the coarse map."""
    return F.interpolate(finer_BCHW, size=size, mode="bilinear", align_corners=True)


class DynamicReLU(nn.Module):
    """Maximum of two lines per channel whose slopes and offsets depend on the map's mean; arXiv 2003.10027."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.squeeze = nn.Linear(config.channels, config.channels // config.dyrelu_reduction)
        self.expand = nn.Linear(config.channels // config.dyrelu_reduction, 4 * config.channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        theta = F.hardsigmoid(self.expand(self.squeeze(x_BCHW.mean(dim=(2, 3))).relu())) - 0.5
        slope1, bias1, slope2, bias2 = theta[:, :, None, None].chunk(4, dim=1)
        return torch.maximum(x_BCHW * (2 * slope1 + 1) + bias1, x_BCHW * (2 * slope2) + bias2)


class NormedConv(nn.Module):
    """A 3x3 convolution, deformable or plain, and its GroupNorm."""

    def __init__(self, config: GlipConfig, stride: int) -> None:
        super().__init__()
        width = config.channels
        self.deformable = config.tower_conv == "deformable"
        self.conv = DeformConv(width, stride) if self.deformable else nn.Conv2d(width, width, 3, stride, 1)
        self.norm = nn.GroupNorm(config.tower_norm_groups, width)

    def forward(self, x_BCHW: Tensor, offset: Tensor | None, mask: Tensor | None) -> Tensor:
        return self.norm(self.conv(x_BCHW, offset, mask) if self.deformable else self.conv(x_BCHW))


class DynamicConv(nn.Module):
    """One block on all levels: list of [B, C, H_l, W_l] -> the same shapes."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.from_coarser = NormedConv(config, stride=1)
        self.from_same = NormedConv(config, stride=1)
        self.from_finer = NormedConv(config, stride=2)
        self.scale_attention = nn.Conv2d(config.channels, 1, 1)
        self.activation = DynamicReLU(config) if config.dyrelu else nn.ReLU()
        self.residual = config.tower_residual
        self.read = flat_memory_read if config.flat_offset_read else resized_read
        deformable = config.tower_conv == "deformable"
        self.offset = nn.Conv2d(config.channels, 3 * TAPS, 3, padding=1) if deformable else None

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        gathered = [self.activation(self._gather(levels, index)) for index in range(len(levels))]
        return [a + b for a, b in zip(levels, gathered, strict=True)] if self.residual else gathered

    def _gather(self, levels: list[Tensor], index: int) -> Tensor:
        offset, mask = self._offset_and_mask(levels[index])
        size = levels[index].shape[-2:]
        sources = [self.from_same(levels[index], offset, mask)]
        if index > 0:
            sources.append(self.from_finer(levels[index - 1], offset, mask))
        if index + 1 < len(levels):
            coarser = levels[index + 1]
            if offset is not None and mask is not None:
                offset, mask = self.read(offset, coarser.shape[-2:]), self.read(mask, coarser.shape[-2:])
            coarse = self.from_coarser(coarser, offset, mask)
            sources.append(F.interpolate(coarse, size=size, mode="bilinear", align_corners=True))
        weighted = (source * (self._scale(source) / len(sources)) for source in sources)
        return functools.reduce(torch.add, weighted)

    def _offset_and_mask(self, level_BCHW: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if self.offset is None:
            return None, None
        raw = self.offset(level_BCHW)
        # contiguous: the flat read is about memory order, whatever layout the convolution chose.
        return raw[:, : 2 * TAPS].contiguous(), raw[:, 2 * TAPS :].sigmoid().contiguous()

    def _scale(self, source_BCHW: Tensor) -> Tensor:
        # [B, 1, 1, 1]: how much this source matters for this image; a 1x1 convolution of the mean, as a product
        weight = self.scale_attention.weight.flatten(1)
        scale = F.linear(source_BCHW.mean(dim=(2, 3)), weight, self.scale_attention.bias)
        return F.hardsigmoid(scale.relu())[:, :, None, None]
