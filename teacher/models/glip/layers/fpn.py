"""Feature pyramid: lateral and output convolutions on the backbone's three maps, and coarser levels.

As in the authors' code there is no norm and no activation. The first coarser level is a stride-2 convolution on the top
*output* (P6 on P5, not on C5), each further one on the rectified level before it.
"""

# B images, C channels, H rows, W columns
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.config import GlipConfig


class DropBlock(nn.Module):
    """Zero square patches of a map in training and rescale the rest. Source: DropBlock, arXiv 1810.12890."""

    def __init__(self, rate: float, size: int) -> None:
        super().__init__()
        self.rate, self.size = rate, size

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x_BCHW
        batch, _, height, width = x_BCHW.shape
        centers = torch.rand(batch, 1, height, width, device=x_BCHW.device) < self.rate / self.size**2
        dropped = F.max_pool2d(centers.to(x_BCHW.dtype), self.size, stride=1, padding=self.size // 2)
        mask = 1 - dropped[..., :height, :width]
        return x_BCHW * mask * (mask.numel() / mask.sum().clamp(min=1))


class FeaturePyramid(nn.Module):
    """Maps at strides 8, 16, 32 -> `config.num_levels` maps of `config.channels`, finest first."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        width = config.channels
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in config.level_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in config.level_channels)
        extra = config.num_levels - len(config.level_channels)
        self.coarser = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(extra))
        self.drop = DropBlock(config.dropblock_rate, config.dropblock_size)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        merged = self.laterals[-1](maps[-1])
        levels = [self.outputs[-1](merged)]
        for index in range(len(maps) - 2, -1, -1):
            lateral = self.laterals[index](maps[index])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="nearest")
            # Only this level's output sees the dropped map. The next level gets the whole one.
            levels.insert(0, self.outputs[index](self.drop(merged)))
        for index, conv in enumerate(self.coarser):
            levels.append(conv(levels[-1] if index == 0 else levels[-1].relu()))
        return levels
