"""The photograph of a row, as it was when it was labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.settings import StorageSettings
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, SampleRejectedError


def read_photo_bytes(
    row: dict[str, Any], roots: Mapping[str, str] | None = None, storage: StorageSettings | None = None
) -> bytes:
    """The stored bytes of a row's image.

    Raises NotFoundError, and ConflictError when they are not those that were labelled.
    """
    data = read_pixels(row["pixels"], roots, storage)
    if row["image_sha256"] and sha256_hex(data) != row["image_sha256"]:
        raise ConflictError(
            f"{row['key']}: the image at {row['pixels']['url']} has changed since it was labelled; "
            "restore the old file, or label it again"
        )
    return data


def read_photo(
    row: dict[str, Any], roots: Mapping[str, str] | None = None, storage: StorageSettings | None = None
) -> np.ndarray:
    """[height, width, 3] uint8, upright, the frame of the row's boxes. Raises as `read_photo_bytes`."""
    try:
        image = decode_image(read_photo_bytes(row, roots, storage))
    except SampleRejectedError as error:
        raise ConflictError(
            f"{row['key']}: the image at {row['pixels']['url']} cannot be decoded: {error}"
        ) from error
    if (image.width, image.height) != (row["width"], row["height"]):
        raise ConflictError(
            f"{row['key']}: the image is {image.width} x {image.height} px, "
            f"its boxes are in a frame of {row['width']} x {row['height']} px"
        )
    return image.rgb_u8
