"""Each way to store an image, against pixels that are known without decoding."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.reading.images import decode_image
from engine.storage.store import open_store
from pipelines.label.run import label
from schemas.errors import SampleRejectedError
from tests.engine.reading.test_images import ramp, saved
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, tar_bytes

# what an encoder with that EXIF value has done to the upright picture
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}
TURNABLE = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "JPEG": {"quality": 100, "subsampling": 0},
}


def turned(upright: np.ndarray, value: int, kind: str) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(STORED[value](upright)))
    exif = Image.Exif()
    exif[0x0112] = value
    where = {"tiffinfo": {0x0112: value}} if kind.startswith("TIFF") else {"exif": exif}
    return saved(image, kind.split()[0], **where, **TURNABLE[kind])


@pytest.mark.parametrize("kind", TURNABLE)
@pytest.mark.parametrize("value", STORED)
def test_a_turned_image_is_upright_again_in_every_format(kind: str, value: int) -> None:
    upright = np.asarray(ramp())

    decoded = decode_image(turned(upright, value, kind))

    far = np.abs(decoded.rgb_u8.astype(int) - upright).max() if decoded.rgb_u8.shape == upright.shape else 255
    assert far <= (6 if kind == "JPEG" else 0)
    assert decoded.exif_orientation == value
    assert (decoded.stored_width, decoded.stored_height) == ((24, 40) if value >= 5 else (40, 24))


def test_a_box_stands_where_the_upright_picture_has_its_patch_whatever_the_turn(tmp_path: Path) -> None:
    upright = np.full((40, 64, 3), 16, np.uint8)
    upright[5:17, 9:40] = (220, 20, 20)
    members = [
        part
        for number, (kind, value) in enumerate((kind, value) for kind in ("PNG", "TIFF") for value in STORED)
        for part in (
            (f"{number:03d}.jpg", turned(upright, value, kind)),
            (f"{number:03d}.txt", b"a red patch"),
        )
    ]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    label(job_of(tmp_path, [tmp_path / "a.tar"]), factories=FACTORIES)
    store = open_store(str(tmp_path / "out"))

    rows = list(evidence_rows(store, latest_snapshot(store)))

    boxes = {tuple(row["regions"][0][name] for name in ("x0", "y0", "x1", "y1")) for row in rows}
    assert boxes == {(9.0, 5.0, 40.0, 17.0)} and len(rows) == 16
    assert {(row["width"], row["height"]) for row in rows} == {(64, 40)}
    assert [row["exif_orientation"] for row in rows] == [*STORED, *STORED]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def flat_png(depth: int, colour: int, pixel: bytes, extra: bytes = b"") -> bytes:
    return png(16, 16, depth, colour, (b"\0" + pixel * 16) * 16, extra)


def flat(mode: str, colour: object, suffix: str, **options: object) -> bytes:
    return saved(Image.new(mode, (16, 16), colour), suffix, **options)


def palette_with_alpha() -> bytes:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 100, 0])
    return saved(image, "PNG", transparency=bytes([255, 128]))


GOLDEN = {
    "8-bit grey": (flat("L", 77, "PNG"), (77, 77, 77)),
    "1-bit": (flat("1", 1, "PNG"), (255, 255, 255)),
    "16-bit grey": (flat_png(16, 0, b"\x12\xff"), (0x12, 0x12, 0x12)),
    "16-bit grey, white": (flat_png(16, 0, b"\xff\xff"), (255, 255, 255)),
    "16-bit grey, transparent": (flat_png(16, 0, b"\x12\x34", chunk(b"tRNS", b"\x12\x34")), (255, 255, 255)),
    "16-bit colour": (flat_png(16, 2, b"\x10\xff\x20\xff\x30\xff"), (0x10, 0x20, 0x30)),
    "16-bit colour and half alpha": (flat_png(16, 6, b"\x00\0\x00\0\x00\0\x80\0"), (127, 127, 127)),
    "grey and no alpha": (flat_png(8, 4, b"\x05\x00"), (255, 255, 255)),
    "colour and no alpha": (flat_png(8, 6, b"\xff\x00\x00\x00"), (255, 255, 255)),
    "colour and half alpha": (flat_png(8, 6, b"\xc8\x64\x00\x80"), (227, 177, 127)),
    "transparent colour": (flat_png(8, 2, b"\x01\x02\x03", chunk(b"tRNS", b"\0\1\0\2\0\3")), (255, 255, 255)),
    "palette": (saved(Image.new("RGB", (16, 16), (9, 99, 199)).quantize(4), "PNG"), (9, 99, 199)),
    "palette and half alpha": (palette_with_alpha(), (227, 177, 127)),
    "CMYK, no ink": (flat("CMYK", (0, 0, 0, 0), "TIFF"), (255, 255, 255)),
    "CMYK, red": (flat("CMYK", (0, 255, 255, 0), "TIFF"), (255, 0, 0)),
    "CMYK, black": (flat("CMYK", (0, 0, 0, 255), "TIFF"), (0, 0, 0)),
    "CMYK JPEG, no ink": (flat("CMYK", (0, 0, 0, 0), "JPEG", quality=100), (255, 255, 255)),
    "CMYK JPEG, red": (flat("CMYK", (0, 255, 255, 0), "JPEG", quality=100), (254, 0, 0)),
    "GIF": (flat("RGB", (255, 0, 0), "GIF"), (255, 0, 0)),
    "WEBP and half alpha": (flat("RGBA", (200, 100, 0, 128), "WEBP", lossless=True), (227, 177, 127)),
    "BMP, fourth byte unused": (flat("RGBA", (200, 100, 0, 128), "BMP"), (200, 100, 0)),
    "16-bit TIFF": (saved(Image.fromarray(np.full((16, 16), 0x12FF, np.uint16)), "TIFF"), (0x12, 0x12, 0x12)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_each_mode_has_the_pixels_it_was_made_of(name: str) -> None:
    data, colour = GOLDEN[name]

    pixels = decode_image(data).rgb_u8

    assert pixels.shape == (16, 16, 3) and len(np.unique(pixels.reshape(-1, 3), axis=0)) == 1
    assert np.abs(pixels[0, 0].astype(int) - colour).max() <= 1, pixels[0, 0]


def test_a_plain_conversion_would_get_these_wrong() -> None:
    wide = np.asarray(Image.open(io.BytesIO(GOLDEN["16-bit grey"][0])).convert("RGB"))
    hidden = np.asarray(Image.open(io.BytesIO(GOLDEN["colour and no alpha"][0])).convert("RGB"))

    assert (wide == 255).all(), "a plain convert saturates 16 bits"
    assert (hidden[0, 0] == (255, 0, 0)).all(), "a plain convert shows the colour beneath"


@pytest.mark.parametrize(
    ("suffix", "cut"), [("JPEG", 0.5), ("PNG", 0.5), ("WEBP", 0.5), ("GIF", 0.6), ("BMP", 0.5)]
)
def test_an_image_cut_in_the_middle_is_never_half_an_image(suffix: str, cut: float) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    data = saved(noise, suffix)

    with pytest.raises(SampleRejectedError) as caught:
        decode_image(data[: int(len(data) * cut)])

    assert caught.value.code in ("IMG_TRUNCATED", "IMG_DECODE")
