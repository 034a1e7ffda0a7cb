"""The image of a row, as it was when it was labeled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.settings import StorageSettings
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, SampleRejectedError
from schemas.rows import PixelsRow


class PhotoRow(TypedDict):
    """The columns of a row that identify its image."""

    key: str
    pixels: PixelsRow
    image_sha256: str
    width: int
    height: int


def read_photo_bytes(
    row: PhotoRow, roots: Mapping[str, str] | None = None, storage: StorageSettings | None = None
) -> bytes:
    """Return the stored bytes of a row's image.

    Raises NotFoundError, and ConflictError if they are not those that were labeled.
    """
    data = read_pixels(row["pixels"], roots, storage)
    if row["image_sha256"] and sha256_hex(data) != row["image_sha256"]:
        raise ConflictError(
            f"{row['key']}: the image at {row['pixels']['url']} has changed since it was labeled; "
            "restore the old file, or label it again"
        )
    return data


def read_photo(
    row: PhotoRow, roots: Mapping[str, str] | None = None, storage: StorageSettings | None = None
) -> NDArray[np.uint8]:
    """Return [height, width, 3] uint8, upright, the frame of the row's boxes. Raises like `read_photo_bytes`."""
    try:
        image = decode_image(read_photo_bytes(row, roots, storage))
    except SampleRejectedError as error:
        raise ConflictError(
            f"{row['key']}: the image at {row['pixels']['url']} cannot be decoded: {error}; "
            "restore the old file, or label it again"
        ) from error
    if (image.width, image.height) != (row["width"], row["height"]):
        raise ConflictError(
            f"{row['key']}: the image is {image.width} x {image.height} px, "
            f"its boxes are in a frame of {row['width']} x {row['height']} px; restore the old file, or label it again"
        )
    return image.rgb_u8
