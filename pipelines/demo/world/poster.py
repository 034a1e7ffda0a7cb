"""Draw the poster style of the hard world: dark outlines with a pale fill, on flat paper without noise.

The truth about a thing (noun, color, texture, box) is unchanged, but it looks very different from gold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_OUTLINE_PX = 5  # size of the erosion: the outline is half of it wide
_FILL, _EDGE = 0.45, 0.5


def draw_paper(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return paper of shape [side, side, 3], float in 0..255, with slightly darker ruled lines."""
    paper = rng.uniform(215, 250) + rng.uniform(-8, 8, 3)
    spacing, first = int(rng.integers(8, 20)), int(rng.integers(8))
    shade = np.ones((side, side, 1))
    shade[first::spacing] = 0.93
    return paper * shade


def draw_outline(paint: NDArray[np.float64], mask: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the paint of a thing, pale inside and dark along the border of its mask.

    paint: (height, width, 3) in 0..255
    mask:  (height, width) in 0..1
    """
    solid = Image.fromarray((mask * 255).astype(np.uint8))
    inside = np.asarray(solid.filter(ImageFilter.MinFilter(_OUTLINE_PX)), dtype=np.float64)[:, :, None] / 255
    pale = 255 - _FILL * (255 - paint)
    return pale * inside + _EDGE * paint * (1 - inside)
