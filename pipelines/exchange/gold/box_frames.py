"""From the frame of a record's boxes to the stored upright image.

A record names the size that its boxes refer to. The stored copy may be smaller, or have an EXIF rotation that the
annotators did not see. Both are corrected. A copy of another shape is refused, because the record does not say where
it was cropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from pipelines.exchange.gold.images import ImageSource, StoredImage
from student.gold.account import RecordError
from student.gold.boxes import Box, rotate_box, round_to_float32, scale_box
from student.gold.sizes import read_size

ASPECT_TOLERANCE = 0.02
ROUNDING_PX = 2  # a stored copy may round a side


@dataclass(frozen=True)
class Frame:
    """The frame of a record's boxes, and the map of the boxes into the stored image.

    width, height: the size in pixels that the boxes refer to; 0 if it is not known
    found:         the stored image; None if none was looked for
    """

    width: int
    height: int
    found: StoredImage | None
    repairs: tuple[str, ...]
    move: Callable[[Box], Box]

    def place(self, box: Box) -> Box:
        """Return the box in the stored upright image, inside its borders. Raises RecordError box_empty."""
        if self.found is None:
            return box
        x0, y0, x1, y1 = self.move(box)
        limit = (float(self.found.width), float(self.found.height))
        moved = round_to_float32((max(x0, 0.0), max(y0, 0.0), min(x1, limit[0]), min(y1, limit[1])))
        if not (moved[0] < moved[2] and moved[1] < moved[3]):
            raise RecordError("box_empty", f"{box} in the stored image")
        return moved


def make_frame(record: Mapping[str, JsonValue], file_name: str, images: ImageSource | None) -> Frame:
    """Return the frame of a record with `width` and `height`. Missing sizes are taken from the image.

    images: None if rows are made without images
    Raises RecordError size_bad, image_missing, image_ambiguous, image_outside, image_bad, image_shape,
    file_name_unsafe.
    """
    found = None if images is None else images.find(file_name, record)
    by_name = ("found_by_name",) if found is not None and found.by_name else ()
    forms: set[str] = set()
    size = read_size(record, forms)
    if size is None:
        if found is None:
            return Frame(0, 0, None, ("size_unknown",), _keep_box)
        return Frame(found.width, found.height, found, (*by_name, "size_from_image"), _keep_box)
    repairs, (width, height) = (*by_name, *forms), size
    if found is None or (width, height) == (found.width, found.height):
        return Frame(width, height, found, repairs, _keep_box)
    if found.exif_orientation >= 5 and _has_same_shape(
        width, height, found.stored_width, found.stored_height
    ):
        x, y = found.stored_width / width, found.stored_height / height
        return Frame(width, height, found, (*repairs, "turned_upright"), _make_rotation(found, x, y))
    if not _has_same_shape(width, height, found.width, found.height):
        exchanged = (
            ": width and height are exchanged" if (height, width) == (found.width, found.height) else ""
        )
        raise RecordError(
            "image_shape", f"{file_name}: {width}x{height}, stored {found.width}x{found.height}{exchanged}"
        )
    x, y = found.width / width, found.height / height
    return Frame(width, height, found, (*repairs, "scaled_to_stored"), lambda box: scale_box(box, x, y))


def _keep_box(box: Box) -> Box:
    return box


def _make_rotation(found: StoredImage, x: float, y: float) -> Callable[[Box], Box]:
    return lambda box: rotate_box(
        scale_box(box, x, y), found.exif_orientation, found.stored_width, found.stored_height
    )


def _has_same_shape(width: int, height: int, stored_width: int, stored_height: int) -> bool:
    x, y = stored_width / width, stored_height / height
    return abs(x / y - 1) <= ASPECT_TOLERANCE or abs(x - y) * max(width, height) <= ROUNDING_PX
