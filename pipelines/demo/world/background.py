"""Draw the background of a scene: a muted gradient, low-frequency noise, and clutter without a name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_NOISE_CELLS = 7


def draw_background(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return a background of shape [side, side, 3], float in 0..255, with one to five lines or specks."""
    smooth = _draw_gradient(rng, side) + _draw_low_noise(rng, side)
    canvas = Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 6))):
        _draw_clutter(rng, draw, side)
    return np.asarray(canvas, dtype=np.float64) + rng.normal(0, 3, (side, side, 1))


def _draw_muted_color(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(70, 185) + rng.uniform(-22, 22, 3)


def _draw_gradient(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    row, column = np.mgrid[0:side, 0:side] / side - 0.5
    along: NDArray[np.float64] = np.clip(0.5 + column * np.cos(angle) + row * np.sin(angle), 0, 1)[:, :, None]
    return _draw_muted_color(rng) * (1 - along) + _draw_muted_color(rng) * along


def _draw_low_noise(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    coarse = Image.fromarray(rng.normal(0, 12, (_NOISE_CELLS, _NOISE_CELLS)).astype(np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)[:, :, None]


def _draw_clutter(rng: np.random.Generator, draw: ImageDraw.ImageDraw, side: int) -> None:
    colour = tuple(int(value) for value in rng.integers(20, 236, 3))
    x, y = rng.uniform(0, side, 2)
    if rng.random() < 0.5:
        dx, dy = rng.uniform(-0.5, 0.5, 2) * side
        draw.line([(x, y), (x + dx, y + dy)], fill=colour, width=int(rng.integers(1, 3)))
    else:
        radius = rng.uniform(0.8, 2.5)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
