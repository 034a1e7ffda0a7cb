"""Small files that cause much work: refused by their header, or bounded; measured in a process of its own."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from engine.reading.images import MAX_SCANS, decode_image
from schemas.errors import SampleRejectedError
from tests.engine.reading.test_images import png_header, ramp, saved
from tests.reading.memory import grown_mib
from tests.reading.test_image_golden import chunk, png

ZEROS = zlib.compress(bytes(50_000_000), 9)
TIFF_DATA = zlib.compress(bytes(112 * 112))


def with_text(kind: bytes, data: bytes, times: int = 1) -> bytes:
    return png(40, 40, 8, 2, bytes(121 * 40), chunk(kind, data) * times)


def tiff(tags: list[tuple[int, int, int, int]]) -> bytes:
    """Return a TIFF of 100 x 100 px, gray; the data is at offset 8."""
    base = [(256, 3, 1, 100), (257, 3, 1, 100), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    data = TIFF_DATA.ljust(len(TIFF_DATA) + len(TIFF_DATA) % 2, b"\0")
    entries = sorted(base + tags)
    ifd = (
        struct.pack("<H", len(entries))
        + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        + bytes(4)
    )
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + ifd


def tiled(width: int, length: int, compression: int) -> bytes:
    return tiff(
        [
            (259, 3, 1, compression),
            (322, 4, 1, width),
            (323, 4, 1, length),
            (324, 4, 1, 8),
            (325, 4, 1, len(TIFF_DATA)),
        ]
    )


def strip(rows: int) -> bytes:
    return tiff([(259, 3, 1, 8), (273, 4, 1, 8), (278, 4, 1, rows), (279, 4, 1, len(TIFF_DATA))])


def many_scans(count: int, side: int = 64) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    data = saved(Image.new("L", (side, side), 100), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))
    return data[:-2] + data[last:-2] * count + data[-2:]


def large_canvas(kind: str) -> bytes:
    frames = [ramp(), Image.new("RGB", (40, 24), "red")]
    data = bytearray(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    if kind == "WEBP":
        data[24:30] = (16_382).to_bytes(3, "little") * 2
    else:
        data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


BOMBS = {
    "PNG of 2^31 px a side": (png_header(2**31 - 1, 2**31 - 1), "IMG_SIZE"),
    "PNG just above the limit": (png_header(8_001, 8_000), "IMG_SIZE"),
    "PNG of one long line": (png_header(16_384, 16), "IMG_SIZE"),
    "PNG sliver": (png_header(16, 16 * 33), "IMG_SIZE"),
    "PNG with a packed text": (with_text(b"zTXt", b"k\0\0" + ZEROS), "IMG_DECODE"),
    "PNG with an international text": (with_text(b"iTXt", b"k\0\1\0\0\0" + ZEROS), "IMG_DECODE"),
    "PNG with a packed profile": (with_text(b"iCCP", b"k\0\0" + ZEROS), "IMG_DECODE"),
    "PNG with many texts": (
        with_text(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 1_000_000, 9), 100),
        "IMG_DECODE",
    ),
    "PNG with more pixels than it says": (
        png(40, 40, 8, 2, b"").replace(chunk(b"IDAT", zlib.compress(b"")), chunk(b"IDAT", ZEROS)),
        None,
    ),
    "WEBP with a large canvas": (large_canvas("WEBP"), "IMG_SIZE"),
    "GIF with a large canvas": (large_canvas("GIF"), "IMG_SIZE"),
    "BMP of 10^10 px": (bmp(100_000, -100_000), "IMG_SIZE"),
    "TIFF with a tile of 2^30 px": (tiled(32_768, 32_768, 8), "IMG_SIZE"),
    "TIFF with an LZW tile of 2^30 px": (tiled(2**20, 1_024, 5), "IMG_SIZE"),
    "TIFF with a raw tile of 2^30 px": (tiled(32_768, 32_768, 1), "IMG_SIZE"),
    "TIFF with a strip of 2^31 rows": (strip(2**31 - 1), None),
    "JPEG of a thousand scans": (many_scans(1_000), "IMG_DECODE"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_its_code(name: str) -> None:
    data, code = BOMBS[name]
    assert len(data) < 300_000

    if code is None:
        assert decode_image(data).rgb_u8.shape in ((40, 40, 3), (100, 100, 3))
        return
    with pytest.raises(SampleRejectedError) as caught:
        decode_image(data)
    assert caught.value.code == code, caught.value


def test_no_bomb_gets_a_pixel_buffer() -> None:
    setup = "from tests.reading.test_image_bombs import *"
    walk = """
for data, code in BOMBS.values():
    try:
        decode_image(data)
    except SampleRejectedError:
        pass
"""

    # Pillow itself keeps 64 MB of PNG texts before it gives up; a single pixel buffer would be 190 MB and more
    assert grown_mib(setup, walk) < 100


@pytest.mark.slow
def test_what_a_tile_costs_a_reader_that_does_not_look() -> None:
    setup = "from tests.reading.test_image_bombs import *\nimport io"
    naive = """
try:
    Image.open(io.BytesIO(BOMBS["TIFF with a tile of 2^30 px"][0])).load()
except OSError:
    pass
"""

    assert grown_mib(setup, naive) > 500


def test_an_ordinary_progressive_jpeg_and_a_tiled_tiff_are_read() -> None:
    assert decode_image(many_scans(MAX_SCANS - 20)).rgb_u8.shape == (64, 64, 3)
    assert decode_image(tiled(112, 112, 8)).width == 100
