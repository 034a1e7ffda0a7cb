"""How a detector's images are resized and padded, by the image settings in its directory.

The same as the image processors of transformers, also of those that need torchvision. They differ in what a missing
setting means and in details of the resizing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
from PIL import Image
from pydantic import JsonValue

from schemas.errors import ConfigError
from teacher.huggingface.images import ImageRgb, ImageRules, Size, parse_image_rules
from teacher.huggingface.model_files import find_model_type, read_image_settings

_ASPECT: JsonValue = {"shortest_edge": 800, "longest_edge": 1333}
_PATCH = 16


@dataclass(frozen=True)
class _Processor:
    """What an image processor class does differently."""

    size: JsonValue = None
    """Size if the settings have none. None: 800 and 1333, and a plain number is the shortest side."""
    normalizes: bool = True
    """Whether images are normalized if the settings do not say."""
    divisor: int = 1
    """Sides of a resized image are cut down to multiples of this."""
    antialiases: bool = True
    """Whether a smaller image is smoothed, as Pillow does."""


_PROCESSORS: Mapping[str, _Processor] = MappingProxyType(
    {
        "RTDetr": _Processor(size={"height": 640, "width": 640}, normalizes=False),
        "Yolos": _Processor(divisor=_PATCH),
        "RfDetr": _Processor(antialiases=False),
        "PPDocLayoutV2": _Processor(size={"height": 800, "width": 800}, antialiases=False),
        "PPDocLayoutV3": _Processor(size={"height": 800, "width": 800}, antialiases=False),
        "PPDocLayoutV4": _Processor(size={"height": 800, "width": 800}, antialiases=False),
    }
)
_OF_MODEL_TYPE: Mapping[str, str] = MappingProxyType(
    {
        "rt_detr": "RTDetr",
        "rt_detr_v2": "RTDetr",
        "d_fine": "RTDetr",
        "deimv2": "RTDetr",
        "yolos": "Yolos",
        "rf_detr": "RfDetr",
        "pp_doclayout_v2": "PPDocLayoutV2",
        "pp_doclayout_v3": "PPDocLayoutV3",
        "pp_doclayout_v4": "PPDocLayoutV4",
    }
)
"""Image processors of directories that name none."""


@dataclass(frozen=True)
class DetectorImageRules(ImageRules):
    """Rules of one detector's images."""

    keeps_aspect: bool = False
    """Whether `exact` is only an upper bound of the sides."""
    canvas: Size | None = None
    """The size to which every image is padded. Boxes are fractions of it."""
    divisor: int = 1
    antialiases: bool = True
    pads: bool = False
    """Whether images of varying size may be padded to share batches."""

    def target_size(self, size: Size) -> Size:
        """Return the size of a resized image."""
        height, width = super().target_size(size)
        if self.exact is not None and self.keeps_aspect:
            scale = min(self.exact[0] / size[0], self.exact[1] / size[1])
            height, width = int(size[0] * scale), int(size[1] * scale)
        if self.exact is None:
            height, width = height - height % self.divisor, width - width % self.divisor
        return max(height, self.divisor), max(width, self.divisor)

    def resize(self, image_rgb_u8: ImageRgb, stored_size: Size | None = None) -> ImageRgb:
        """Return the image at its target size, uint8 [h, w, 3]. `stored_size` is as for `ImageRules`."""
        if self.antialiases:
            return super().resize(image_rgb_u8, stored_size)
        target = self.target_size(stored_size or (image_rgb_u8.shape[0], image_rgb_u8.shape[1]))
        return _resize_without_smoothing(image_rgb_u8, target, self.resample)

    def compute_padded_size(self, size: Size, multiple: int) -> Size:
        """Return the size of the batch for a resized image: its own, unless the model tells padding from image."""
        if self.canvas is not None:
            return self.canvas
        if self.exact is not None and not self.keeps_aspect:
            return self.exact
        if not self.pads:
            return size
        height, width = (-(-side // multiple) * multiple for side in size)
        return height, width


def read_detector_rules(folder: Path, pads: bool) -> DetectorImageRules:
    """Return the rules of a detector directory.

    pads:   whether images may be padded to share batches
    raises: NotFoundError without image settings, ConfigError for settings that cannot be used
    """
    values = dict(read_image_settings(folder))
    processor = _find_processor(folder, values)
    values.setdefault("do_normalize", processor.normalizes)
    if values.get("do_resize") is False:
        raise ConfigError(
            f"{folder}: do_resize is false in its image settings, so the size of its images is unknown; set do_resize "
            "to true and size to the size of the training"
        )
    size = _complete_size(values, processor)
    try:
        bounds = _parse_size(size, "max_height", "max_width")
        canvas = (
            None if values.get("do_pad") is False else _parse_size(values.get("pad_size"), "height", "width")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder}: its image settings cannot be used ({error}); expected numbers in size and pad_size"
        ) from error
    values["size"] = size if bounds is None else {"height": bounds[0], "width": bounds[1]}
    rules = parse_image_rules(values, folder)
    _check_canvas(folder, rules, canvas)
    return DetectorImageRules(
        **vars(rules),
        keeps_aspect=bounds is not None,
        canvas=canvas,
        divisor=processor.divisor,
        antialiases=processor.antialiases,
        pads=pads,
    )


def _find_processor(folder: Path, values: Mapping[str, JsonValue]) -> _Processor:
    """Return the image processor that the settings name, else that of the model type."""
    named = str(values.get("image_processor_type") or values.get("feature_extractor_type") or "")
    for ending in ("Fast", "Pil"):
        named = named.removesuffix(ending)
    stem = named.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    return _PROCESSORS.get(stem or _OF_MODEL_TYPE.get(find_model_type(folder) or "", ""), _Processor())


def _complete_size(values: Mapping[str, JsonValue], processor: _Processor) -> JsonValue:
    """Return `size` as an object. In old settings it is a number, with the longest side in `max_size`."""
    size = values.get("size")
    if size is None:
        return processor.size or _ASPECT
    if isinstance(size, int) and not isinstance(size, bool) and processor.size is None:
        longest = values.get("max_size", values.get("longest_edge", 1333))
        return {"shortest_edge": size, "longest_edge": longest}
    return size


def _parse_size(size: JsonValue, height: str, width: str) -> Size | None:
    """Return the size in an object that has at least one of two keys, None for anything else."""
    if not isinstance(size, dict) or size.keys().isdisjoint((height, width)):
        return None
    return int(cast(int, size[height])), int(cast(int, size[width]))


def _check_canvas(folder: Path, rules: ImageRules, canvas: Size | None) -> None:
    """Raise ConfigError if a resized image may be larger than the canvas."""
    if canvas is None:
        return
    largest = rules.exact or (rules.longest, rules.longest)
    if any(side is None or side > limit for side, limit in zip(largest, canvas, strict=True)):
        raise ConfigError(
            f"{folder}: its image settings pad to {canvas[0]} x {canvas[1]}, but resize to as much as {largest}; "
            "correct pad_size or size"
        )


def _resize_without_smoothing(image_rgb_u8: ImageRgb, size: Size, resample: Image.Resampling) -> ImageRgb:
    """Return the image resized as torchvision does with `antialias=False`, rounded to whole values."""
    import torch

    mode = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}.get(resample)
    if mode is None:
        raise ConfigError(
            f"resample is {int(resample)} in the image settings; expected 2 (bilinear) or 3 (bicubic)"
        )
    if image_rgb_u8.shape[:2] == size:
        return image_rgb_u8
    pixels = torch.from_numpy(np.array(image_rgb_u8)).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(pixels, size=size, mode=mode, align_corners=False)
    whole = resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(whole)
