"""One square anchor per location, in GLIP's inclusive pixels: a box from x0 to x1 is x1 - x0 + 1 pixels wide."""

from __future__ import annotations

import torch
from torch import Tensor

from teacher.models.glip.layers.tensor_cache import tensor_cache


@tensor_cache(256)
def grid_anchors(
    level_shapes: tuple[tuple[int, int], ...], anchor_scale: float, device: torch.device
) -> Tensor:
    """Return [N, 4] xyxy pixels of the padded network input: level by level, rows, then columns. Do not modify it.

    Level l has stride 8 * 2**l. Its anchors are `anchor_scale` strides wide and centered at (stride - 1) / 2, so
    stride 8 at scale 8 starts with [-28, -28, 35, 35].
    """
    return torch.cat(
        [_make_level(8 * 2**level, shape, anchor_scale) for level, shape in enumerate(level_shapes)]
    ).to(device)


def _make_level(stride: int, shape: tuple[int, int], anchor_scale: float) -> Tensor:
    reach = (anchor_scale * stride - 1) / 2
    y = torch.arange(shape[0], dtype=torch.float32, device="cpu") * stride + (stride - 1) / 2
    x = torch.arange(shape[1], dtype=torch.float32, device="cpu") * stride + (stride - 1) / 2
    center_y, center_x = torch.meshgrid(y, x, indexing="ij")
    sides = (center_x - reach, center_y - reach, center_x + reach, center_y + reach)
    return torch.stack(sides, dim=-1).view(-1, 4)
