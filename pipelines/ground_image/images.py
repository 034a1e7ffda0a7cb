"""Images that a user hands over, in the frame of the boxes: upright RGB."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.reading.images import decode_image
from schemas.digests import sha256_hex
from schemas.errors import NotFoundError, SampleRejectedError
from schemas.labeler import NeededSize

ImageInput = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of an image file, a Pillow image, or uint8 [height, width, 3] in RGB."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


@dataclass(frozen=True)
class InputImage:
    """An image that a user handed over. `path` and `sha256` are empty for pixels that were in memory."""

    rgb_u8: NDArray[np.uint8]
    path: str = ""
    sha256: str = ""
    exif_orientation: int = 1
    reduced_from: tuple[int, int] | None = None
    """(height, width) of the whole image, if it may have been decoded at a reduced scale"""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the whole image."""
        return self.reduced_from or (self.rgb_u8.shape[0], self.rgb_u8.shape[1])


def decode_input(image: ImageInput, needed_size: NeededSize | None = None) -> InputImage:
    """Return a user's image as upright RGB.

    needed_size: as for `decode_image`
    raises: NotFoundError for a path that is not a file, SampleRejectedError for bytes that are not an image,
            ValueError for an array of another form
    """
    if isinstance(image, np.ndarray):
        return InputImage(_check_array(image))
    if isinstance(image, Image.Image):
        return InputImage(decode_image(_encode_png(image)).rgb_u8)
    if isinstance(image, bytes):
        path, data = "", image
    else:
        path, data = str(Path(image).absolute()), _read_file(Path(image))
    decoded = decode_image(data, needed_size)
    size = (decoded.height, decoded.width)
    return InputImage(decoded.rgb_u8, path, sha256_hex(data), decoded.exif_orientation, size)


def _read_file(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"image {str(path)!r} does not exist; give the path of an image file")
    return path.read_bytes()


def _check_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            f"an array of {array.dtype} {list(array.shape)}; expected uint8 [height, width, 3] in RGB"
        )
    return array


def _encode_png(image: Image.Image) -> bytes:
    """Return an upright PNG: it keeps transparency and 16 bits, so they are decoded as those of a file are."""
    sink = io.BytesIO()
    _convert_for_png(ImageOps.exif_transpose(image)).save(sink, "PNG")
    return sink.getvalue()


def _convert_for_png(image: Image.Image) -> Image.Image:
    if image.mode in _PNG_MODES or image.mode.startswith("I"):
        return image
    if image.mode == "F":  # refused as a file with such samples is
        raise SampleRejectedError(
            "IMG_FORMAT", "floating-point samples have no defined white; convert the image to mode RGB"
        )
    if image.mode == "La":
        return image.convert("LA")
    return image.convert("RGBA" if image.mode in ("PA", "RGBa") else "RGB")
