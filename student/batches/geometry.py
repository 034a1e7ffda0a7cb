"""Geometry of augmentation, for an image and its boxes: a mirror, a zoom and a shift as one affine map.

Coordinates are continuous and half-open (the image covers [0, width] x [0, height]), so an image and its boxes move by
the same numbers. Pixels from outside the image repeat the border. A reflected image there would show objects without
boxes.
"""

# G boxes
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.boxes import area, as_boxes
from student.settings.train import AugmentSettings

_MIRRORED_SIDES = np.array([2, 1, 0, 3])


@dataclass(frozen=True)
class AffineAugmentation:
    """x' = scale_x * x + shift_x * width, likewise y. Shifts are fractions of the side, so they fit any image size."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    @property
    def is_mirrored(self) -> bool:
        """Whether left and right are swapped."""
        return self.scale_x < 0


def sample_augmentation(rng: np.random.Generator, settings: AugmentSettings) -> AffineAugmentation:
    """Return a random motion about the center of the image."""
    mirror = rng.random() < settings.flip
    larger, right, down = (2 * float(drawn) - 1 for drawn in rng.random(3))
    zoom, dx, dy = 1 + larger * settings.zoom, right * settings.shift, down * settings.shift
    scale_x = -zoom if mirror else zoom
    return AffineAugmentation(scale_x, zoom, 0.5 - scale_x / 2 + dx, 0.5 - zoom / 2 + dy)


def draw_scale(rng: np.random.Generator, settings: AugmentSettings) -> int | None:
    """Return the shorter side in pixels to which the image is resized; None: the model's own."""
    return settings.scales[int(rng.integers(len(settings.scales)))] if settings.scales else None


def augment_image(image_rgb_u8: NDArray[np.uint8], motion: AffineAugmentation) -> NDArray[np.uint8]:
    """Return the moved image, of the same size, sampled bilinearly."""
    if motion == AffineAugmentation():
        return image_rgb_u8
    height, width = image_rgb_u8.shape[:2]
    # PIL needs the map from the new image to the old one.
    ax, ay = 1 / motion.scale_x, 1 / motion.scale_y
    cx, cy = -motion.shift_x * width * ax, -motion.shift_y * height * ay
    pad_x, pad_y = _overhang(ax, cx, width), _overhang(ay, cy, height)
    wide = _pad_with_border(image_rgb_u8, pad_x, pad_y)
    moved = Image.fromarray(wide).transform(
        (width, height),
        Image.Transform.AFFINE,
        (ax, 0, cx + pad_x, 0, ay, cy + pad_y),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(moved)


def _pad_with_border(image_rgb_u8: NDArray[np.uint8], pad_x: int, pad_y: int) -> NDArray[np.uint8]:
    """Pad as `np.pad(mode="edge")` does, several times as fast."""
    height, width = image_rgb_u8.shape[:2]
    wide = np.empty((height + 2 * pad_y, width + 2 * pad_x, 3), dtype=np.uint8)
    inner = wide[pad_y : pad_y + height]
    inner[:, pad_x : pad_x + width] = image_rgb_u8
    inner[:, :pad_x], inner[:, pad_x + width :] = image_rgb_u8[:, :1], image_rgb_u8[:, -1:]
    wide[:pad_y], wide[pad_y + height :] = inner[0], inner[-1]
    return wide


def _overhang(slope: float, start: float, side: int) -> int:
    """Return how far the new image extends beyond the old one on one axis, plus one pixel for the sampler."""
    ends = (start, start + slope * side)
    return max(0, math.ceil(max(-min(ends), max(ends) - side))) + 1


def augment_boxes(
    boxes_xyxy_px_G4: NDArray[np.float32], motion: AffineAugmentation, width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the moved boxes [G, 4], clipped to the image, and the share [G] of each that is still inside."""
    boxes = as_boxes(boxes_xyxy_px_G4)
    scale = np.array([motion.scale_x, motion.scale_y] * 2)
    shift = np.array([motion.shift_x * width, motion.shift_y * height] * 2)
    moved = boxes * scale + shift
    if motion.is_mirrored:
        moved = moved[:, _MIRRORED_SIDES]
    inside = np.minimum(np.maximum(moved, 0), np.array([width, height, width, height]))
    full = area(moved)
    return inside, np.divide(area(inside), full, out=np.zeros(len(full)), where=full > 0)
