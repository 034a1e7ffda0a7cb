"""Decode a sample's stored image bytes to the pixels that are labeled, or reject the sample.

Labeling and `verify --deep` both decode with this function, so they see the same pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.reading.images import DecodedImage, decode_image
from engine.reading.raw_samples import SampleSource
from engine.reading.shards import MAX_MEMBER_BYTES
from schemas.errors import SampleRejectedError
from schemas.labeler import NeededSize

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
ASPECT_TOLERANCE = 0.02
MIN_BAND_PX = 8
# the 16 px blocks of a JPEG spread the edge of the picture into the border
BLEED_PX = 16
BAND_TOLERANCE = 12


def decode_sample_image(
    data: bytes, source: SampleSource, needed_size: NeededSize | None = None
) -> DecodedImage:
    """Decode a sample's image.

    needed_size: as for `decode_image`. A square that may have padded borders is decoded whole, to find them
    Raises SampleRejectedError: MEMBER_LARGE, FRAME_PADDED and what `decode_image` raises.
    """
    if len(data) > MAX_MEMBER_BYTES:
        raise SampleRejectedError(
            "MEMBER_LARGE", f"an image of {len(data)} bytes, at most {MAX_MEMBER_BYTES}"
        )
    if source.original_width and source.original_height and needed_size is not None:
        needed_size = _keep_squares(needed_size)
    decoded = decode_image(data, needed_size)
    if source.original_width and source.original_height:
        _check_frame(decoded.rgb_u8, source.original_width, source.original_height)
    return decoded


def _keep_squares(needed_size: NeededSize) -> NeededSize:
    return lambda size: None if size[0] == size[1] else needed_size(size)


def _check_frame(rgb_u8: NDArray[np.uint8], original_width: int, original_height: int) -> None:
    """Reject a padded square, as img2dataset makes it by default: relative coordinates would be wrong."""
    for width, height in ((original_width, original_height), (original_height, original_width)):
        band = band_px(rgb_u8, width, height)
        if band:
            raise SampleRejectedError(
                "FRAME_PADDED",
                f"{original_width} x {original_height} px became a square of {rgb_u8.shape[0]} px with borders of "
                f"{band} px; download with resize_mode keep_ratio",
            )


def band_px(rgb_u8: NDArray[np.uint8], original_width: int, original_height: int) -> int:
    """Return the width in px of the plain bands that pad an image of the original size to a square; 0 if none.

    rgb_u8: [height, width, 3]
    """
    side, other = rgb_u8.shape[:2]
    long, short = max(original_width, original_height), min(original_width, original_height)
    if side != other or long <= short * (1 + ASPECT_TOLERANCE):
        return 0
    band = int((side - side * short / long) / 2)
    if band < MIN_BAND_PX:
        return 0
    across = rgb_u8 if original_height < original_width else rgb_u8.transpose(1, 0, 2)
    sure = max(band - BLEED_PX, band // 2)
    ends = np.concatenate([across[:sure], across[-sure:]]).astype(np.int16)
    plain = np.abs(ends - np.median(ends, axis=(0, 1))).max() <= BAND_TOLERANCE
    return band if plain else 0
