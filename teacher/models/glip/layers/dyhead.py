"""The dynamic head's block: each level combines itself and its neighbors by weights, with a dynamic activation.

All levels share the weights. Source: Dynamic Head, arXiv 2106.08322, as the GLIP authors built it.
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


def read_flat_memory(finer_BCHW: Tensor, size: torch.Size) -> Tensor:
    """Return the first C*h*w numbers of each image, reshaped to [B, C, h, w].

    The authors' operator reads the finer level's offsets this way when it convolves a coarse map: it does not check the
    shape and reads the memory as if it were coarse. Released weights were trained that way.
    """
    batch, channels = finer_BCHW.shape[:2]
    height, width = size
    return finer_BCHW.flatten(1)[:, : channels * height * width].view(batch, channels, height, width)


def read_resized(finer_BCHW: Tensor, size: torch.Size) -> Tensor:
    """Return the finer level's values resampled to the coarse map, as one would expect of `read_flat_memory`."""
    return F.interpolate(finer_BCHW, size=size, mode="bilinear", align_corners=True)


class DynamicReLU(nn.Module):
    """Maximum of two lines per channel, with slopes and offsets from the map's mean. Source: arXiv 2003.10027."""

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
        output: Tensor = self.norm(self.conv(x_BCHW, offset, mask) if self.deformable else self.conv(x_BCHW))
        return output


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
        self.read = read_flat_memory if config.flat_offset_read else read_resized
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
        combined: Tensor = functools.reduce(torch.add, weighted)
        return combined

    def _offset_and_mask(self, level_BCHW: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if self.offset is None:
            return None, None
        raw = self.offset(level_BCHW)
        # contiguous: the flat read depends on the memory order, and the convolution may choose another layout.
        return raw[:, : 2 * TAPS].contiguous(), raw[:, 2 * TAPS :].sigmoid().contiguous()

    def _scale(self, source_BCHW: Tensor) -> Tensor:
        # [B, 1, 1, 1], the weight of this source for this image: a 1x1 convolution of the mean, as a product
        weight = self.scale_attention.weight.flatten(1)
        scale = F.linear(source_BCHW.mean(dim=(2, 3)), weight, self.scale_attention.bias)
        return F.hardsigmoid(scale.relu())[:, :, None, None]
