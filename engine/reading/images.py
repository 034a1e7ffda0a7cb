"""Decode untrusted image bytes to upright RGB arrays.

The header is checked before a pixel is allocated. An image that cannot be decoded faithfully is rejected with a code.
Alpha is blended over white (a plain convert would show the hidden color), 16-bit samples lose their low byte (a plain
convert saturates), the EXIF orientation is applied and reported, and of an animation the first frame is used.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# a plugin that is not imported is unknown to Image.open(formats=...)
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from schemas.errors import SampleRejectedError
from schemas.labeler import NeededSize

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
MIN_SIDE, MAX_SIDE = 16, 16_384
MAX_ASPECT = 32
MAX_TILE_PIXELS = 4 * 2**20  # or twice the image: libtiff allocates a tile of any size before it reads one
MAX_SCANS = 100  # of a progressive JPEG; each is a pass over all pixels, and encoders write about ten
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
# the other codecs of libtiff are rare on the web and had many vulnerabilities
_TIFF_COMPRESSIONS = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate")
_ORIENTATION = 0x0112
# the transposition that undoes each EXIF orientation, as in ImageOps.exif_transpose
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = (5, 6, 7, 8)
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image: `rgb_u8` is [height, width, 3], upright; `stored_*` is the size before it was made upright.

    Of an image that was decoded at a reduced scale, `rgb_u8` is smaller than `height` and `width`.
    """

    rgb_u8: NDArray[np.uint8]
    stored_width: int
    stored_height: int
    exif_orientation: int

    @property
    def width(self) -> int:
        """Width of the whole image in pixels, upright."""
        return self.stored_height if self.exif_orientation in _QUARTER_TURNS else self.stored_width

    @property
    def height(self) -> int:
        """Height of the whole image in pixels, upright."""
        return self.stored_width if self.exif_orientation in _QUARTER_TURNS else self.stored_height


def decode_image(data: bytes, needed_size: NeededSize | None = None) -> DecodedImage:
    """Decode one image. Raises SampleRejectedError: IMG_EMPTY, IMG_FORMAT, IMG_SIZE, IMG_TRUNCATED, IMG_DECODE.

    needed_size: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that has the needed pixels
    """
    picture, (width, height), orientation = decode_picture(data, needed_size)
    return DecodedImage(np.asarray(picture), width, height, orientation)


def decode_picture(
    data: bytes, needed_size: NeededSize | None = None
) -> tuple[Image.Image, tuple[int, int], int]:
    """Return the upright RGB picture, its stored size (width, height) and EXIF orientation.

    Parameters and errors are those of `decode_image`.
    """
    if not data:
        raise SampleRejectedError("IMG_EMPTY", "0 bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image)
            if image.format in ("JPEG", "MPO"):
                _check_scans(data)
            return _decode(image, needed_size)
    except SampleRejectedError:
        raise
    except UnidentifiedImageError as error:
        code = "IMG_DECODE" if data.startswith(_MAGIC) else "IMG_FORMAT"
        raise SampleRejectedError(code, f"no image that can be opened; first bytes {data[:12]!r}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SampleRejectedError("IMG_SIZE", str(error)) from error
    except Exception as error:
        # Pillow's decoders raise nearly any type on hostile bytes (struct.error, IndexError, zlib.error, ...)
        truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
        code = "IMG_TRUNCATED" if truncated else "IMG_DECODE"
        raise SampleRejectedError(code, f"{type(error).__name__}: {error}") from error


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    sides = sorted((width, height))
    too_long = sides[0] < MIN_SIDE or sides[1] > MAX_SIDE or sides[1] > MAX_ASPECT * sides[0]
    if too_long or width * height > MAX_PIXELS:
        raise SampleRejectedError("IMG_SIZE", f"{width} x {height} px")
    if image.format == "TIFF" and image.info.get("compression", "raw") not in _TIFF_COMPRESSIONS:
        raise SampleRejectedError("IMG_FORMAT", f"TIFF compression {image.info['compression']!r}")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiles(image)


def _check_tiles(image: TiffImagePlugin.TiffImageFile) -> None:
    sides = [image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
    if not all(isinstance(side, int) for side in sides):
        raise SampleRejectedError("IMG_DECODE", f"a TIFF with tiles of {sides}")
    if sides[0] * sides[1] > max(MAX_TILE_PIXELS, 2 * image.width * image.height):
        raise SampleRejectedError("IMG_SIZE", f"a TIFF with tiles of {sides[0]} x {sides[1]} px")


def _check_scans(data: bytes) -> None:
    scans = data.count(b"\xff\xda")  # such a pair is escaped inside a scan, so only markers are counted
    if scans > MAX_SCANS:
        raise SampleRejectedError("IMG_DECODE", f"a JPEG of {scans} scans, at most {MAX_SCANS}")


def _decode(image: Image.Image, needed_size: NeededSize | None) -> tuple[Image.Image, tuple[int, int], int]:
    stored_size = _stored_size(image)
    orientation = _exif_orientation(image)
    if needed_size is not None and image.format == "JPEG":
        _reduce_scale(image, orientation, needed_size)
    image.load()
    upright = _to_rgb(image)
    # Pillow transposes a TIFF itself while it loads it, but no other format
    if orientation != 1 and image.format != "TIFF":
        upright = upright.transpose(_TRANSPOSITIONS[orientation])
    return upright, stored_size, orientation


def _reduce_scale(image: Image.Image, orientation: int, needed_size: NeededSize) -> None:
    """Let the decoder leave out what is not needed. It never gives fewer pixels than that."""
    turns = orientation in _QUARTER_TURNS
    width, height = image.size
    needed = needed_size((width, height) if turns else (height, width))
    if needed is not None:
        height, width = reversed(needed) if turns else needed
        image.draft(None, (max(width, 1), max(height, 1)))


def _stored_size(image: Image.Image) -> tuple[int, int]:
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # its `size` is already that of the transposed image
        tags = image.tag_v2
        return int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])
    return image.size


def _exif_orientation(image: Image.Image) -> int:
    """Return the orientation 1..8; 1 if the tag is missing, out of range or unreadable."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not affect the pixels; Pillow raises many types on it
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise SampleRejectedError("IMG_FORMAT", "floating-point samples have no defined white")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 0xFFFF:
        raise SampleRejectedError("IMG_FORMAT", f"samples {samples.min()}..{samples.max()}, expected 16 bits")
    gray = (samples >> 8).astype(np.uint8)
    gray[samples == image.info.get("transparency", -1)] = 255
    return Image.fromarray(gray).convert("RGB")
