from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from engine.reading.images import MAX_PIXELS, decode_image
from schemas.errors import SampleRejectedError


def saved(image: Image.Image, suffix: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, suffix, **options)
    return sink.getvalue()


def ramp(width: int = 40, height: int = 24) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns * 6, rows * 10, columns + rows], -1).astype(np.uint8))


def code_of(data: bytes) -> str:
    with pytest.raises(SampleRejectedError) as caught:
        decode_image(data)
    return caught.value.code


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and has no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 100) + b"IDAT"


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_pixels_are_exact(suffix: str) -> None:
    decoded = decode_image(saved(ramp(), suffix, **({"lossless": True} if suffix == "WEBP" else {})))

    assert np.array_equal(decoded.rgb_u8, np.asarray(ramp()))
    assert (decoded.width, decoded.height, decoded.exif_orientation) == (40, 24, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_turn_is_undone_and_reported(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(ramp(), "PNG", exif=exif)

    decoded = decode_image(data)

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decoded.rgb_u8, np.asarray(upright))
    assert (decoded.stored_width, decoded.stored_height, decoded.exif_orientation) == (40, 24, orientation)


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_a_turn_outside_the_eight_is_no_turn(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    decoded = decode_image(saved(ramp(), "PNG", exif=exif))

    assert (decoded.width, decoded.exif_orientation) == (40, 1)


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_sixteen_bits_lose_their_low_byte_and_do_not_saturate(suffix: str) -> None:
    samples = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 64

    decoded = decode_image(saved(Image.fromarray(samples), suffix))

    assert np.array_equal(decoded.rgb_u8[..., 0], (samples >> 8).astype(np.uint8))


def test_alpha_lies_over_white_and_reveals_no_hidden_colour() -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:10, :, 3] = 255

    decoded = decode_image(saved(Image.fromarray(pixels), "PNG"))

    assert (decoded.rgb_u8[:10] == (200, 0, 0)).all()
    assert (decoded.rgb_u8[10:] == 255).all()


def test_a_transparent_palette_colour_is_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.paste(1, (0, 0, 10, 20))

    decoded = decode_image(saved(image, "PNG", transparency=0))

    assert (decoded.rgb_u8[:, :10] == (40, 50, 60)).all()
    assert (decoded.rgb_u8[:, 10:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK", "YCbCr"])
def test_other_modes_become_three_channels(mode: str) -> None:
    decoded = decode_image(
        saved(ramp().convert(mode), "TIFF" if mode == "LA" else "JPEG" if mode != "1" else "PNG")
    )

    assert decoded.rgb_u8.shape == (24, 40, 3)


def test_the_first_frame_stands_for_an_animation() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]

    decoded = decode_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))

    assert (decoded.rgb_u8[0, 0] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "IMG_EMPTY"),
        (b"<html>not found</html>", "IMG_FORMAT"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "IMG_FORMAT"),
        (saved(ramp(), "PPM"), "IMG_FORMAT"),
        (saved(ramp(), "TIFF", compression="jpeg"), "IMG_FORMAT"),
        (saved(ramp(15, 40), "PNG"), "IMG_SIZE"),
        (saved(ramp(16, 16 * 33), "PNG"), "IMG_SIZE"),
        (png_header(8_001, MAX_PIXELS // 8_000), "IMG_SIZE"),
        (png_header(16_385, 1_000), "IMG_SIZE"),
        (png_header(2_000_000_000, 2_000_000_000), "IMG_SIZE"),
        (saved(ramp(), "JPEG")[:-200], "IMG_TRUNCATED"),
        (saved(ramp(), "PNG")[:60], "IMG_TRUNCATED"),
        (saved(ramp(), "PNG")[:20], "IMG_TRUNCATED"),
        (png_header(40, 40), "IMG_TRUNCATED"),
        (saved(Image.new("F", (20, 20)), "TIFF"), "IMG_FORMAT"),
    ],
)
def test_what_cannot_be_used_has_its_code(data: bytes, code: str) -> None:
    assert code_of(data) == code


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_hostile_image_raises_anything_but_a_rejection(shared_data: Path) -> None:
    codes: dict[str, int] = {}
    for path in sorted((shared_data / "nasty" / "images").rglob("*")):
        if path.is_file():
            try:
                decoded = decode_image(path.read_bytes())
                assert decoded.rgb_u8.dtype == np.uint8 and decoded.rgb_u8.shape[2] == 3
                code = "decoded"
            except SampleRejectedError as rejected:
                code = rejected.code
            codes[code] = codes.get(code, 0) + 1

    assert codes["decoded"] > 100
    assert {"IMG_FORMAT", "IMG_SIZE", "IMG_DECODE"} <= codes.keys()


def test_a_photograph_stored_in_several_turns_decodes_to_one_picture(shared_data: Path) -> None:
    paths = sorted((shared_data / "nasty" / "images" / "pillow").glob("hopper_orientation_[2-8].*"))
    turned = {path: decode_image(path.read_bytes()) for path in paths}
    first = turned[paths[0]].rgb_u8.astype(int)

    assert len({image.exif_orientation for image in turned.values()}) >= 5
    for path, image in turned.items():
        assert str(image.exif_orientation) == path.stem[-1]
        assert np.abs(image.rgb_u8.astype(int) - first).mean() < 10, (
            path
        )  # compressed apart; another turn is above 30
