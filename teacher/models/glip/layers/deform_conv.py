"""Modulated deformable convolution (DCNv2) in plain torch: sample nine displaced taps, weight them, one matmul.

Source: arXiv 1811.11168. Offsets are laid out as the authors' operator reads them: channels (dy, dx) per tap, taps
row-major. A tap outside the map is zero, and one within a pixel of the border fades out linearly.
"""

# B images, C channels in, O channels out, H x W map in, h x w map out, K taps
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.layers.torchvision_ops import torchvision_ops

# The dtypes of which torchvision has kernels everywhere. Reduced precision uses plain torch.
_TORCHVISION_DTYPES = (torch.float32, torch.float64)


def modulated_deform_conv(
    x_BCHW: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """Convolve with a square, odd-sized kernel whose taps are moved by `offset` and scaled by `mask`, with padding.

    offset:  [B, 2K, h, w] pixels of the input map, (dy, dx) per tap
    mask:    [B, K, h, w]
    weight:  [O, C, k, k] with K = k * k
    returns: [B, O, h, w]
    """
    ops = None if torch.compiler.is_compiling() else torchvision_ops()
    if ops is not None and x_BCHW.dtype == offset.dtype == mask.dtype == weight.dtype in _TORCHVISION_DTYPES:
        padding = weight.shape[-1] // 2
        return ops.deform_conv2d(x_BCHW, offset, weight, bias, stride=stride, padding=padding, mask=mask)
    return plain_deform_conv(x_BCHW, offset, mask, weight, bias, stride)


def plain_deform_conv(
    x_BCHW: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """Run `modulated_deform_conv` in plain torch."""
    batch, channels = x_BCHW.shape[:2]
    taps, (height, width) = weight.shape[2] * weight.shape[3], mask.shape[-2:]
    grid = _make_sampling_grid(offset, weight.shape[-1], stride, x_BCHW.shape[-2:])
    # align_corners=False: no division by (size - 1), which is 0 for a 1-pixel map.
    sampled = F.grid_sample(x_BCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    sampled = sampled.view(batch, channels, taps, height * width) * mask.reshape(
        batch, 1, taps, height * width
    )
    out = weight.flatten(1) @ sampled.view(batch, channels * taps, height * width)
    if bias is not None:
        out = out + bias[:, None]
    return out.view(batch, len(weight), height, width)


def _make_sampling_grid(offset: Tensor, kernel: int, stride: int, size: torch.Size) -> Tensor:
    """Return [B, K * h, w, 2] positions for `grid_sample`: (x, y), -1 and 1 at the outer edges of the map."""
    batch, _, height, width = offset.shape
    moves = offset.view(batch, kernel * kernel, 2, height, width)
    reach = torch.arange(kernel, device=offset.device, dtype=offset.dtype) - kernel // 2
    rows = torch.arange(height, device=offset.device, dtype=offset.dtype) * stride
    columns = torch.arange(width, device=offset.device, dtype=offset.dtype) * stride
    tap_y, tap_x = (reach.repeat_interleave(kernel), reach.repeat(kernel))
    y = moves[:, :, 0] + tap_y[:, None, None] + rows[:, None]
    x = moves[:, :, 1] + tap_x[:, None, None] + columns
    grid = torch.stack(((2 * x + 1) / size[1] - 1, (2 * y + 1) / size[0] - 1), dim=-1)
    return grid.view(batch, kernel * kernel * height, width, 2)


class DeformConv(nn.Module):
    """A 3x3 modulated deformable convolution. Its owner computes offsets and mask."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCHW: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return modulated_deform_conv(x_BCHW, offset, mask, self.weight, self.bias, self.stride)
