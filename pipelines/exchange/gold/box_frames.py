"""From the frame that a record's boxes are in to the stored upright image.

A record says for which size its boxes are. The stored copy may be smaller, or carry an EXIF turn that the annotators
never saw; both are mended. A copy of another shape is not: where the crop was, the record does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.exchange.gold.account import Refused
from pipelines.exchange.gold.boxes import Box, as_float32, is_number, scaled, turned
from pipelines.exchange.gold.images import Found, Images

ASPECT_TOLERANCE = 0.02
ROUNDING_PX = 2  # a stored copy may round a side


@dataclass(frozen=True)
class Frame:
    """The size that boxes of a record refer to, the image (None: not looked for), and how boxes get into it."""

    width: int
    height: int
    found: Found | None
    repairs: tuple[str, ...]
    move: Callable[[Box], Box]

    def placed(self, box: Box) -> Box:
        """The box in the stored upright image, inside its borders."""
        if self.found is None:
            return box
        x0, y0, x1, y1 = self.move(box)
        limit = (float(self.found.width), float(self.found.height))
        moved = as_float32((max(x0, 0.0), max(y0, 0.0), min(x1, limit[0]), min(y1, limit[1])))
        if not (moved[0] < moved[2] and moved[1] < moved[3]):
            raise Refused("box_empty", f"{box} in the stored image")
        return moved


def frame_of(record: Mapping[str, Any], file_name: str, images: Images | None) -> Frame:
    """The frame of a record with `width` and `height` (missing ones are taken from the image).

    images: None when rows are made without images
    raises: Refused size_bad, image_missing, image_bad, image_shape, file_name_unsafe
    """
    found = None if images is None else images.find(file_name, record)
    if "width" not in record or "height" not in record:
        if found is None:
            raise Refused("size_bad", "no width and height, and no image to take them from")
        return Frame(found.width, found.height, found, ("size_from_image",), _as_it_is)
    width, height = side_of(record["width"]), side_of(record["height"])
    if found is None or (width, height) == (found.width, found.height):
        return Frame(width, height, found, (), _as_it_is)
    if found.exif_orientation >= 5 and _same_shape(width, height, found.stored_width, found.stored_height):
        x, y = found.stored_width / width, found.stored_height / height
        return Frame(width, height, found, ("turned_upright",), _turn(found, x, y))
    if not _same_shape(width, height, found.width, found.height):
        raise Refused("image_shape", f"{file_name}: {width}x{height}, stored {found.width}x{found.height}")
    x, y = found.width / width, found.height / height
    return Frame(width, height, found, ("scaled_to_stored",), lambda box: scaled(box, x, y))


def side_of(value: Any) -> int:
    """A side of an image in pixels. Raises Refused size_bad."""
    if not is_number(value) or value != int(value) or not 0 < value <= 1_000_000:
        raise Refused("size_bad", f"{value!r}")
    return int(value)


def _as_it_is(box: Box) -> Box:
    return box


def _turn(found: Found, x: float, y: float) -> Callable[[Box], Box]:
    return lambda box: turned(
        scaled(box, x, y), found.exif_orientation, found.stored_width, found.stored_height
    )


def _same_shape(width: int, height: int, stored_width: int, stored_height: int) -> bool:
    x, y = stored_width / width, stored_height / height
    return abs(x / y - 1) <= ASPECT_TOLERANCE or abs(x - y) * max(width, height) <= ROUNDING_PX
