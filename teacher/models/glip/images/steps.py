"""From images to a GLIP model's pixels: resize, normalize, pad."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Size = tuple[int, int]  # height, width
ImageRgb = Image.Image | np.ndarray  # an array is RGB, uint8 [H, W, 3]

# The authors round the sides of a padded batch up to a multiple of this.
AUTHORS_PAD_MULTIPLE = 32
MAX_16_BIT = 0xFFFF


class ImageSteps:
    """The steps that both processors of a GLIP directory share. They set the attributes."""

    shorter_side: int
    longer_side: int
    channel_order: Literal["bgr", "rgb"]
    pixel_mean: Sequence[float]
    pixel_std: Sequence[float]

    def target_size(self, size: Size, shorter_side: int | None = None) -> Size:
        """Return (height, width) after resizing: shorter side `shorter_side`, unless the longer one exceeds its limit.

        The integer arithmetic is the authors' and must not be simplified: another rounding gives other boxes. Only if
        nothing is left of the shorter side (1 x 4000 pixels), it becomes one pixel.
        """
        short, long = min(size), max(size)
        target = shorter_side or self.shorter_side
        if long / short * target > self.longer_side:
            target = round(self.longer_side * short / long)
        if target == 0:
            return (1, self.longer_side) if size[0] == short else (self.longer_side, 1)
        if short == target:
            return size
        other = int(target * long / short)
        return (target, other) if size[0] == short else (other, target)

    def resize(
        self, image: ImageRgb, shorter_side: int | None = None, stored_size: Size | None = None
    ) -> np.ndarray:
        """Return the image at its target size, uint8 [H, W, 3], by PIL's bilinear resizing with antialiasing.

        shorter_side: instead of the model's own, for training at several scales
        stored_size:  of the whole image, if this one was decoded at a reduced scale
        """
        picture = _to_rgb(image) if isinstance(image, Image.Image) else _to_picture(image)
        height, width = self.target_size(stored_size or (picture.height, picture.width), shorter_side)
        if (picture.height, picture.width) != (height, width):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(picture)

    def pixels(
        self, resized: Sequence[np.ndarray], pad: Literal["authors"] | Size = "authors"
    ) -> dict[str, Tensor]:
        """Normalize and pad: `pixel_values` [B, 3, H, W] float32, `pixel_mask` [B, H, W] one inside the image.

        pad: "authors" pads to the batch's maximum rounded up to 32, a size (height, width) to that size. The padding is
             at the right and bottom, zero after normalization.
        """
        sizes = [image.shape[:2] for image in resized]
        height, width = self._compute_padded_size(sizes, pad)
        values = torch.zeros(len(resized), 3, height, width)
        mask = torch.zeros(len(resized), height, width, dtype=torch.long)
        for index, (image, (rows, columns)) in enumerate(zip(resized, sizes, strict=True)):
            self._normalize(image, values[index, :, :rows, :columns])
            mask[index, :rows, :columns] = 1
        return {"pixel_values": values, "pixel_mask": mask}

    def _compute_padded_size(self, sizes: Sequence[Size], pad: Literal["authors"] | Size) -> Size:
        needed = max(size[0] for size in sizes), max(size[1] for size in sizes)
        if pad == "authors":
            height, width = (math.ceil(side / AUTHORS_PAD_MULTIPLE) * AUTHORS_PAD_MULTIPLE for side in needed)
            return height, width
        if needed[0] > pad[0] or needed[1] > pad[1]:
            raise ValueError(
                f"images of up to {needed} (height, width) do not fit into the padding {pad}; use a larger one"
            )
        return pad

    def _normalize(self, image: np.ndarray, out: Tensor) -> None:
        """Write (value - mean) / std of each channel into `out` [3, H, W], in the model's order of channels."""
        planes = (2, 1, 0) if self.channel_order == "bgr" else (0, 1, 2)
        for place, plane in enumerate(planes):
            # The numpy view shares memory with `out`. A uint8 plane and float32 numbers give float32.
            target = out[place].numpy()
            np.subtract(image[..., plane], np.float32(self.pixel_mean[place]), out=target)
            np.divide(target, np.float32(self.pixel_std[place]), out=target)


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture as RGB, as the labeling engine reads it: 16 bits scaled, transparency on white."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode == "F":
        raise ValueError("an image of floating-point samples has no defined white; convert it to RGB first")
    if picture.mode.startswith("I"):
        samples = np.asarray(picture).astype(np.int64)
        if samples.min() < 0 or samples.max() > MAX_16_BIT:
            raise ValueError("an image has samples outside 16 bits; convert it to RGB first")
        gray = (samples >> 8).astype(np.uint8)
        gray[samples == picture.info.get("transparency", -1)] = 255
        return Image.fromarray(gray).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _to_picture(image_rgb: np.ndarray) -> Image.Image:
    """Return an array as an image. Raises ValueError for an array that is not an RGB image."""
    shape = image_rgb.shape
    if image_rgb.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        # may become the detail of a rejected sample, which is stored, so the text must not change
        raise ValueError(
            f"an image as an array is uint8 [H, W, 3] in RGB order, not {image_rgb.dtype} {list(shape)}; a PIL image "
            "of any mode will do too"
        )
    return Image.fromarray(image_rgb, "RGB")
