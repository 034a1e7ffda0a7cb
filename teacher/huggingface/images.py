"""From an image to the pixels that a model expects, by the rules in the model's own directory.

The same as the image processors of `transformers`, without torchvision, and in two steps: an image is resized when it
is prepared (uint8, small) and normalized when its batch is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import JsonValue

from schemas.errors import ConfigError
from teacher.huggingface.model_files import read_image_settings

Size = tuple[int, int]
"""(height, width)"""
Pixels = npt.NDArray[np.float32]
MAX_SIDE = 16_384
"""Longest side of a model's input in pixels: that of the largest image that is read."""
ImageRgb = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""[h, w, 3], values 0..255. Float32 only after the resizing of a model that does not round."""
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Sizes(TypedDict, total=False):
    """Arguments of `ImageRules`."""

    shortest: int
    longest: int | None
    exact: Size


@dataclass(frozen=True)
class ImageRules:
    """How one model's images are resized and normalized."""

    shortest: int | None = None
    """Length of the shorter side after resizing; None: `exact` is given."""
    longest: int | None = None
    exact: Size | None = None
    """The size of every image, without regard to its aspect ratio."""
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    scale: float = 1 / 255
    """Factor for a uint8 value, before mean and std."""
    resample: Image.Resampling = Image.Resampling.BILINEAR

    def target_size(self, size: Size) -> Size:
        """Return the size of a resized image. The arithmetic is that of `get_size_with_aspect_ratio`."""
        if self.exact is not None:
            return self.exact
        assert self.shortest is not None, "rules without an exact size have a shortest side"
        height, width = size
        short, long = float(min(size)), float(max(size))
        side, raw = self.shortest, float(self.shortest)
        if self.longest is not None and long / short * side > self.longest:
            raw = self.longest * short / long
            side = round(raw)
        if side == min(size):
            return size
        side = max(side, 1)
        other = max(int(raw * long / short), 1)
        return (other, side) if width < height else (side, other)

    def resize(self, image_rgb_u8: ImageRgb, stored_size: Size | None = None) -> ImageRgb:
        """Return the image at its target size, uint8 [h, w, 3].

        stored_size: of the whole image, if this one was decoded at a reduced scale
        """
        height, width = self.target_size(stored_size or (image_rgb_u8.shape[0], image_rgb_u8.shape[1]))
        if image_rgb_u8.shape[:2] == (height, width):
            return image_rgb_u8
        picture = Image.fromarray(image_rgb_u8, "RGB").resize((width, height), self.resample)
        return np.asarray(picture)

    def compute_padded_size(self, size: Size, multiple: int) -> Size:
        """Return the size of the batch that an image of this resized size goes to: a function of the image alone."""
        if self.exact is not None:
            return self.exact
        height, width = (math.ceil(side / multiple) * multiple for side in size)
        return height, width

    def normalize(
        self, resized: Sequence[ImageRgb | None], size: Size
    ) -> tuple[Pixels, npt.NDArray[np.int64]]:
        """Return pixels [B, 3, H, W] and mask [B, H, W], one inside the image. Padding is zero, right and bottom.

        A blank row (None) is a full image of zeros, so that no model divides by an empty mask.
        """
        values_C256 = self._normalize_values(np.arange(256)[None])
        pixels = np.zeros((len(resized), 3, *size), dtype=np.float32)
        mask = np.zeros((len(resized), *size), dtype=np.int64)
        for row, image in enumerate(resized):
            if image is None:
                mask[row] = 1
                continue
            height, width = image.shape[:2]
            mask[row, :height, :width] = 1
            if image.dtype != np.uint8:
                pixels[row, :, :height, :width] = self._normalize_values(image.transpose(2, 0, 1))
                continue
            for channel, values in enumerate(values_C256):  # a look-up is faster than arithmetic
                pixels[row, channel, :height, :width] = values[image[..., channel]]
        return pixels, mask

    def _normalize_values(self, values_C: npt.NDArray[np.generic]) -> Pixels:
        """Return values of the three channels [3, ...], normalized and rounded as `transformers` does it."""
        scaled_C = (values_C.astype(np.float64) * self.scale).astype(np.float32)
        mean_C, std_C = (
            np.array(triple, dtype=np.float32).reshape(3, *[1] * (values_C.ndim - 1))
            for triple in (self.mean, self.std)
        )
        return np.asarray((scaled_C - mean_C) / std_C, dtype=np.float32)


def read_image_rules(folder: Path, defaults: Mapping[str, JsonValue] | None = None) -> ImageRules:
    """Return the rules of a model directory. Raises NotFoundError without them, ConfigError for others than these.

    defaults: settings that the model's processor has where its file has none
    """
    own = {name: value for name, value in read_image_settings(folder).items() if value is not None}
    return parse_image_rules({**(defaults or {}), **own}, folder)


def parse_image_rules(values: Mapping[str, JsonValue], folder: Path) -> ImageRules:
    """Return the rules that image settings state. Raises ConfigError, which names the folder."""
    size = values.get("size")
    if values.get("do_resize") is False:
        raise ConfigError(
            f"{folder}: do_resize is false in its image settings, so the size of its images is unknown; set do_resize "
            "and size"
        )
    try:
        rules = ImageRules(
            **_parse_size(size),
            mean=_parse_triple(values, "image_mean", _IMAGENET_MEAN),
            std=_parse_triple(values, "image_std", _IMAGENET_STD),
            scale=_parse_scale(values),
            resample=Image.Resampling(cast(int, values.get("resample", 2))),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{folder}: its image settings cannot be used ({error}); expected `size` with shortest_edge and "
            "longest_edge, or with height and width, and three numbers as image_mean and image_std"
        ) from error
    sides = (rules.shortest, rules.longest, *(rules.exact or ()))
    if wrong := [side for side in sides if side is not None and not 1 <= side <= MAX_SIDE]:
        raise ConfigError(
            f"{folder}: `size` in its image settings has a side of {wrong[0]} pixels, expected 1 to {MAX_SIDE}; copy "
            "the model's image settings again"
        )
    if values.get("do_normalize") is False:
        rules = replace(rules, mean=(0, 0, 0), std=(1, 1, 1))
    return rules


def read_stretch_rules(folder: Path) -> ImageRules:
    """Return the rules of a model that sees every image stretched to one size. Raises ConfigError for other rules."""
    rules = read_image_rules(folder)
    if rules.exact is None:
        raise ConfigError(
            f"{folder}: its image settings keep the aspect ratio (shortest side {rules.shortest}), and this model has "
            "no mask for padding; expected `size` with height and width"
        )
    return rules


def _parse_scale(values: Mapping[str, JsonValue]) -> float:
    """Return the factor for a uint8 value. Without rescaling, mean and std are meant for 0..255."""
    if values.get("do_rescale") is False:
        return 1.0
    return float(cast(float, values.get("rescale_factor", 1 / 255)))


def _parse_size(size: JsonValue) -> _Sizes:
    if isinstance(size, int) and not isinstance(size, bool):
        return {"exact": (size, size)}
    if isinstance(size, list) and len(size) == 2:
        return {"exact": (int(cast(int, size[0])), int(cast(int, size[1])))}
    if not isinstance(size, dict):
        raise ValueError(f"size is {size!r}")
    if "shortest_edge" in size:
        longest = size.get("longest_edge")
        return {
            "shortest": int(cast(int, size["shortest_edge"])),
            "longest": None if longest is None else int(cast(int, longest)),
        }
    return {"exact": (int(cast(int, size["height"])), int(cast(int, size["width"])))}


def _parse_triple(
    values: Mapping[str, JsonValue], name: str, default: tuple[float, ...]
) -> tuple[float, ...]:
    given = values.get(name)
    if given is None:
        return default
    numbers = tuple(float(cast(float, number)) for number in cast("list[JsonValue]", given))
    if len(numbers) != 3 or (name == "image_std" and 0 in numbers):
        raise ValueError(f"{name} is {given!r}")
    return numbers
