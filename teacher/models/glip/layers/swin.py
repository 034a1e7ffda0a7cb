"""Swin Transformer v1 as the authors' detectors use it, with maps at strides 8, 16 and 32.

Odd sizes are padded where they occur: to the patch, to pairs before merging, to the window after the first norm (so
attention sees padding as zeros). transformers' own Swin is not used, although its weights would fit: on a map no larger
than the window it shrinks the window and skips the shift, unlike the authors' code. Source: arXiv 2103.14030.
"""

# B images, H rows, W columns, C channels, w windows of an image, L positions of a window, h heads
from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.config import GlipConfig
from teacher.models.glip.layers.activation_checkpointing import run_checkpointed
from teacher.models.glip.layers.tensor_cache import tensor_cache

# Added to the logits of positions that the shift moved together from different sides of the map.
APART = -100.0


@tensor_cache(8)
def relative_position_index(window: int) -> Tensor:
    """Return [L, L], the row of the bias table for each pair of positions in a window."""
    line = torch.arange(window, device="cpu")
    place = torch.stack(torch.meshgrid(line, line, indexing="ij")).flatten(1)
    distance = place[:, :, None] - place[:, None, :] + window - 1
    return distance[0] * (2 * window - 1) + distance[1]


@tensor_cache(64)
def shift_mask(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """Return [w, L, L] for a map rolled by half a window: 0 inside a region, `APART` across regions."""
    bounds = (slice(0, -window), slice(-window, -(window // 2)), slice(-(window // 2), None))
    region = torch.zeros(1, height, width, 1, device=device)
    for index, (rows, columns) in enumerate((rows, columns) for rows in bounds for columns in bounds):
        region[:, rows, columns] = index
    region_wL = to_windows(region, window).flatten(1)
    return torch.where(region_wL[:, None] == region_wL[:, :, None], 0.0, APART)


def to_windows(x_BHWC: Tensor, window: int) -> Tensor:
    """Return [B, H, W, C] as [B * w, L, C]. Sides are multiples of the window."""
    batch, height, width, channels = x_BHWC.shape
    x = x_BHWC.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def from_windows(x_wLC: Tensor, window: int, height: int, width: int) -> Tensor:
    """Return the map of windows: the inverse of `to_windows`."""
    x = x_wLC.view(-1, height // window, width // window, window, window, x_wLC.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, x_wLC.shape[-1])


class DropPath(nn.Module):
    """Drop the residual branch of an image with probability `rate` in training. Source: arXiv 1603.09382."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        mask = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * mask.to(x.dtype) / (1 - self.rate)


class RelativePositionBias(nn.Module):
    """Learned bias [h, L, L] of attention logits by the distance of two positions."""

    def __init__(self, window: int, heads: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self) -> Tensor:
        return self.table[relative_position_index(self.window).to(self.table.device)].permute(2, 0, 1)


class WindowAttention(nn.Module):
    """Self-attention inside each window."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.position_bias = RelativePositionBias(window, heads)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x_wLC: Tensor, mask_wLL: Tensor | None) -> Tensor:
        """Return [B * w, L, C]. x: [B * w, L, C]; mask: [w, L, L] to add to the logits, the same for every image."""
        # [B * w, L, 3C] -> three of [B * w, h, L, C / h]
        query, key, value = self.qkv(x_wLC).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        logits = (query * self.scale) @ key.transpose(2, 3) + self.position_bias()
        if mask_wLL is not None:
            # [B * w, h, L, L] -> [B, w, h, L, L]
            images = len(logits) // len(mask_wLL)
            logits = logits.unflatten(0, (images, len(mask_wLL))) + mask_wLL[:, None].to(logits.dtype)
            logits = logits.flatten(0, 1)
        output: Tensor = self.output((logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
        return output


class SwinBlock(nn.Module):
    """Window attention (every second block shifted by half a window) and a feed-forward network, pre-norm."""

    def __init__(
        self, config: GlipConfig, channels: int, heads: int, shifted: bool, drop_rate: float
    ) -> None:
        super().__init__()
        self.window, self.shift = config.swin_window, config.swin_window // 2 if shifted else 0
        hidden = int(channels * config.swin_mlp_ratio)
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, config.swin_window)
        self.norm2 = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        self.drop_path = DropPath(drop_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = x_BHWC + self.drop_path(self._attend(self.norm1(x_BHWC)))
        output: Tensor = x + self.drop_path(self.contract(F.gelu(self.expand(self.norm2(x)))))
        return output

    def _attend(self, x_BHWC: Tensor) -> Tensor:
        height, width = x_BHWC.shape[1:3]
        x = F.pad(x_BHWC, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded_height, padded_width = x.shape[1:3]
        mask = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(padded_height, padded_width, self.window, x.device)
        x = from_windows(
            self.attention(to_windows(x, self.window), mask), self.window, padded_height, padded_width
        )
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Halve the sides and double the channels: each 2x2 patch is concatenated, normalized and projected."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = F.pad(x_BHWC, (0, 0, 0, x_BHWC.shape[2] % 2, 0, x_BHWC.shape[1] % 2))
        # Order of the four: (row, column) parity (0, 0), (1, 0), (0, 1), (1, 1)
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        output: Tensor = self.reduction(self.norm(torch.cat(corners, dim=-1)))
        return output


class SwinStage(nn.Module):
    """Patch merging (not in the first stage) and the blocks of one resolution."""

    gradient_checkpointing = False

    def __init__(self, config: GlipConfig, index: int, drop_rates: list[float]) -> None:
        super().__init__()
        channels, heads = config.swin_embed_dim * 2**index, config.swin_heads[index]
        self.merge = PatchMerging(channels // 2) if index else nn.Identity()
        self.blocks = nn.ModuleList(
            SwinBlock(config, channels, heads, number % 2 == 1, rate)
            for number, rate in enumerate(drop_rates)
        )

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x: Tensor = self.merge(x_BHWC)
        for block in self.blocks:
            x = run_checkpointed(self, block, x)
        return x


class Swin(nn.Module):
    """[B, 3, H, W] -> maps at strides 8, 16 and 32. The stride-4 stage has no norm, since no layer reads it."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, config.swin_embed_dim, 4, 4)
        self.patch_norm = nn.LayerNorm(config.swin_embed_dim)
        ends = [sum(config.swin_depths[:stage]) for stage in range(5)]
        rates = torch.linspace(0, config.drop_path_rate, ends[-1], device="cpu").tolist()
        bounds = enumerate(pairwise(ends))
        self.stages = nn.ModuleList(
            SwinStage(config, index, rates[begin:end]) for index, (begin, end) in bounds
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in config.level_channels)

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        height, width = pixels_B3HW.shape[-2:]
        patches = self.patches(F.pad(pixels_B3HW, (0, -width % 4, 0, -height % 4)))
        x = self.stages[0](self.patch_norm(patches.permute(0, 2, 3, 1)))
        maps = []
        for stage, norm in zip(self.stages[1:], self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
        return maps
