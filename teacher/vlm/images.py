"""The image that an endpoint gets: its size, and its bytes as a data URL.

Qwen's servers resize an image to sides that are multiples of the size of a patch (`smart_resize`). Qwen2.5-VL answers
in pixels of that image, so one is sent that such a server leaves as it is.
"""

from __future__ import annotations

import base64
import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from teacher.vlm.settings import JPEG_QUALITY, Style

_PATCHES: dict[Style, int] = {"qwen2.5": 28, "qwen3": 32, "json": 1}
_MIN_PATCHES: dict[Style, int] = {"qwen2.5": 2, "qwen3": 1, "json": 1}
"""Shortest side in patches. With 2 x 28 pixels any image has Qwen2.5-VL's `min_pixels`, 56 x 56."""


def choose_size(height: int, width: int, style: Style, max_side: int) -> tuple[int, int]:
    """Return (height, width) of the image that is sent: at most `max_side`, in whole patches of the model."""
    scale = min(1.0, max_side / max(height, width))
    patch, least = _PATCHES[style], _MIN_PATCHES[style]
    most = max(max_side // patch, least)
    rows, columns = (min(max(round(side * scale / patch), least), most) for side in (height, width))
    return rows * patch, columns * patch


def encode_image(
    image_rgb_u8: npt.NDArray[np.uint8], size: tuple[int, int], image_format: Literal["jpeg", "png"]
) -> str:
    """Return a data URL of the image, resized to (height, width)."""
    image = Image.fromarray(image_rgb_u8)
    if size != image_rgb_u8.shape[:2]:
        image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    sink = io.BytesIO()
    if image_format == "jpeg":
        image.save(sink, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(sink, "PNG", compress_level=1)
    return f"data:image/{image_format};base64,{base64.b64encode(sink.getvalue()).decode('ascii')}"
