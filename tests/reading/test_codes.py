"""The list of reason codes: each can be produced, and the page has the texts of the code."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.reading.raw_samples import SampleSource
from engine.reading.sample_images import band_px, decode_sample_image
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from pipelines.label.run import label
from schemas.codes import PHRASE_CODES, SAMPLE_CODES, SHARD_CODES, UNIT_CODES, render_codes_page
from schemas.errors import SampleRejectedError
from tests.engine.reading.test_images import png_header, saved
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, picture, tar_bytes

# tested where they are raised, in tests/engine, tests/label and tests/reading/test_folder.py
ELSEWHERE = {"CRASH", "TIMEOUT", "NOT_SELECTED", "SPANS_BAD", "KEY_BAD", "ROW_BAD", "TEACHER_ANSWER"}


def test_the_page_of_codes_says_what_the_list_says(project_root: Path) -> None:
    assert (project_root / "docs" / "codes.md").read_text(encoding="utf-8") == render_codes_page()


def test_every_code_is_raised_somewhere_and_none_that_is_not_listed(project_root: Path) -> None:
    listed = {*SAMPLE_CODES, *SHARD_CODES, *UNIT_CODES, *PHRASE_CODES}
    written = {
        node.value
        for room in ("engine", "teacher", "pipelines")
        for path in (project_root / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert listed - written == set()


def test_a_failure_has_a_code_of_the_list(project_root: Path) -> None:
    listed = {*SAMPLE_CODES, *SHARD_CODES, *UNIT_CODES}
    given = {
        word.value.value
        for path in (project_root / "engine").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Failure"
        for word in call.keywords
        if word.arg == "code" and isinstance(word.value, ast.Constant)
    }

    assert given and given <= listed


def padded(width: int, height: int, side: int, colour: int = 255, suffix: str = "PNG") -> bytes:
    """Return a photograph of this shape in a square, as img2dataset's `resize_mode: border` stores it."""
    scale = side / max(width, height)
    inner = (round(width * scale), round(height * scale))
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (inner[1], inner[0], 3), dtype=np.uint8))
    square = Image.new("RGB", (side, side), (colour,) * 3)
    square.paste(photo, ((side - inner[0]) // 2, (side - inner[1]) // 2))
    return saved(square, suffix)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1000, 200), (500, 333)])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_square_with_borders_is_refused(width: int, height: int, suffix: str, colour: int) -> None:
    data = padded(width, height, 256, colour, suffix)

    with pytest.raises(SampleRejectedError, match="FRAME_PADDED.*keep_ratio"):
        decode_sample_image(data, SampleSource(original_width=width, original_height=height))


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (padded(640, 480, 256), SampleSource()),
        (padded(480, 480, 256), SampleSource(original_width=480, original_height=480)),
        (padded(640, 636, 256), SampleSource(original_width=640, original_height=636)),
        (
            saved(Image.effect_noise((256, 256), 90).convert("RGB"), "PNG"),
            SampleSource(original_width=640, original_height=480),
        ),
        (
            saved(Image.effect_noise((256, 192), 90).convert("RGB"), "PNG"),
            SampleSource(original_width=640, original_height=480),
        ),
    ],
    ids=["no recorded size", "a square original", "nearly a square", "a crop", "the ratio kept"],
)
def test_what_is_no_padded_frame_is_kept(data: bytes, source: SampleSource) -> None:
    assert decode_sample_image(data, source).width == 256


def test_no_photograph_of_a_real_shard_is_taken_for_a_padded_one(shared_data: Path) -> None:
    path = shared_data / "foreign_shards" / "torchtitan_cc12m-train-0000.tar"
    shard = open_shard(path, "x", InputSettings(urls=("x",)).reading())
    raws = list(shard.samples(0, len(shard)))

    decoded = [
        decode_sample_image(data, raw.source) for raw, data in zip(raws, shard.images(raws), strict=True)
    ]

    assert len(decoded) == 32


def test_the_width_of_a_border_is_found_to_the_pixel() -> None:
    rgb = np.zeros((100, 100, 3), np.uint8)
    rgb[25:75] = np.random.default_rng(0).integers(0, 255, (50, 100, 3), dtype=np.uint8)

    assert band_px(rgb, 200, 100) == 25 and band_px(rgb, 100, 200) == 0


def test_one_job_produces_every_sample_code_that_reading_and_labeling_give(tmp_path: Path) -> None:
    image, text = picture(), b"a red patch"
    about = json.dumps({"original_width": 640, "original_height": 480}).encode()
    members = [
        ("00.txt", text),
        ("01.jpg", b""), ("01.txt", text),
        ("02.jpg", b"<html>"), ("02.txt", text),
        ("03.jpg", png_header(9_000, 9_000)), ("03.txt", text),
        ("04.jpg", b"\x89PNG\r\n\x1a\n" + bytes(40)), ("04.txt", text),
        ("05.jpg", image[:70]), ("05.txt", text),
        ("06.jpg", image),
        ("07.jpg", image), ("07.txt", b" . "),
        ("08.jpg", image), ("08.txt", b"\xff"),
        ("09.jpg", image), ("09.txt", b"a" * 70_000),
        ("10.jpg", image), ("10.txt", text), ("10.json", b"{"),
        ("11.jpg", image), ("11.jpg", image), ("11.txt", text),
        ("12.jpg", bytes(64 * 2**20 + 1)), ("12.txt", text),
        ("13.jpg", padded(640, 480, 256)), ("13.txt", text), ("13.json", about),
        ("14.jpg", image), ("14.txt", b"explode a red patch"),
        ("15.jpg", image), ("15.txt", b"notanumber a red patch"),
        ("16.jpg", image), ("16.txt", text),
    ]  # fmt: skip
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))

    summary = label(
        job_of(tmp_path, [tmp_path / "a.tar"], input={"unit_samples": 64}, run={"batch_size": 1}),
        factories=FACTORIES,
    )

    expected = set(SAMPLE_CODES) - ELSEWHERE - {"OOM"}  # a small teacher with one row has memory enough
    assert summary["samples"]["rejected"] == dict.fromkeys(sorted(expected), 1)
    assert summary["samples"]["labelled"] == 1
