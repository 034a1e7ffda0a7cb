"""A small residual network for the tiny world: maps at strides 8, 16 and 32, like Swin's last three stages."""

# B images, C channels, H rows, W columns
from __future__ import annotations

import torch
from torch import Tensor, nn

from teacher.models.glip.config import GlipConfig


def _make_norm(config: GlipConfig, channels: int) -> nn.Module:
    if config.conv_norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(8, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, of which the first has the stride, and a shortcut."""

    def __init__(self, config: GlipConfig, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = _make_norm(config, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = _make_norm(config, channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            project = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(project, _make_norm(config, channels_out))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = self.norm1(self.conv1(x_BCHW)).relu()
        output: Tensor = (self.norm2(self.conv2(inner)) + self.shortcut(x_BCHW)).relu()
        return output


class ConvBackbone(nn.Module):
    """[B, 3, H, W] -> three maps of `config.conv_widths` channels at strides 8, 16 and 32 (sides rounded up)."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        first, second = config.conv_stem_widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False),
            _make_norm(config, first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, 2, 1, bias=False),
            _make_norm(config, second),
            nn.ReLU(),
            ResidualBlock(config, second, second, 1),
        )
        self.stages = nn.ModuleList()
        channels = second
        for width, depth in zip(config.conv_widths, config.conv_depths, strict=True):
            blocks = [ResidualBlock(config, channels, width, 2)]
            blocks += [ResidualBlock(config, width, width, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = width

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        maps = []
        # Channels-last from here to the heads. On CPU, convolutions are about 10 % faster in this layout.
        x = self.stem(pixels_B3HW.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
