"""A teacher asked about one image gives what `label` wrote for it, whatever form the image has."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import groundswell as gs
from engine.reading.captions import MAX_CHARS
from pipelines.ground_image.images import decode_input
from schemas.errors import ConfigError, ConflictError, NotFoundError, SampleRejectedError
from tests.groundswell.conftest import SmallWorld

EQUAL = ("caption", "width", "height", "phrases", "dropped_phrases", "regions", "exif_orientation")


@pytest.fixture(scope="module")
def teacher(small_world: SmallWorld) -> gs.GroundingTeacher:
    return gs.load_teacher(small_world.model, device="cpu")


def test_one_image_gets_the_regions_that_label_wrote(
    small_world: SmallWorld, teacher: gs.GroundingTeacher
) -> None:
    rows = list(gs.open_evidence(str(small_world.evidence)))
    assert sum(len(row["regions"]) for row in rows) > 0

    for row in rows:
        grounded = teacher.ground(gs.load_image(row), row["caption"])

        assert {name: grounded[name] for name in EQUAL} == {name: row[name] for name in EQUAL}


def test_every_form_of_an_image_gives_the_same_row(
    small_world: SmallWorld, teacher: gs.GroundingTeacher, tmp_path: Path
) -> None:
    image = gs.load_image(next(iter(gs.open_evidence(str(small_world.evidence)))))
    path = tmp_path / "image.png"
    image.save(path)

    rows = [
        teacher.ground(form, "a red circle")
        for form in (image, np.asarray(image), path.read_bytes(), path, str(path))
    ]

    assert rows[0]["regions"] and all(row["regions"] == rows[0]["regions"] for row in rows)
    assert gs.load_image(rows[-1]).tobytes() == image.tobytes()  # a file is found again by its row


def test_a_turned_image_is_upright(teacher: gs.GroundingTeacher) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    Image.new("RGB", (64, 32)).save(sink, "JPEG", exif=exif)

    rows = [teacher.ground(form, "a star") for form in (sink.getvalue(), Image.open(sink))]

    assert [(row["width"], row["height"]) for row in rows] == [(32, 64)] * 2


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La", "PA", "I;16", "1"])
def test_a_pillow_image_of_any_mode_is_grounded_and_drawn(teacher: gs.GroundingTeacher, mode: str) -> None:
    image = Image.new(mode, (64, 32))
    row = teacher.ground(image, "a star")

    assert (row["width"], row["height"]) == (64, 32)
    assert gs.draw(row, image).size[0] == 1000


def test_a_cmyk_image_has_the_pixels_of_its_file() -> None:
    sink = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").convert("CMYK").save(sink, "JPEG")

    assert np.array_equal(decode_input(Image.open(sink)).rgb_u8, decode_input(sink.getvalue()).rgb_u8)


def test_transparency_of_any_mode_is_white() -> None:
    for mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        assert decode_input(Image.new(mode, (64, 32))).rgb_u8.min() == 255


def test_floating_point_samples_are_refused_as_those_of_a_file_are() -> None:
    image, sink = Image.new("F", (64, 32)), io.BytesIO()
    image.save(sink, "TIFF")

    for form in (image, sink.getvalue()):
        with pytest.raises(SampleRejectedError, match="IMG_FORMAT.*floating-point"):
            decode_input(form)


def test_given_spans_are_phrases_too(teacher: gs.GroundingTeacher) -> None:
    row = teacher.ground(Image.new("RGB", (64, 32)), "xyzzy red", spans=[(0, 5)])

    assert [phrase["text"] for phrase in row["phrases"] if phrase["kind"] == "given"] == ["xyzzy"]


def test_a_caption_without_a_phrase_gives_a_row_without_regions(teacher: gs.GroundingTeacher) -> None:
    row = teacher.ground(Image.new("RGB", (64, 32)), "and so on")

    assert (row["phrases"], row["regions"]) == ([], [])


def test_a_caption_is_cleaned_as_label_does(teacher: gs.GroundingTeacher) -> None:
    image = Image.new("RGB", (64, 32))

    row = teacher.ground(image, "a red\ncircle\x00 near a star" + " and a ring" * 300)

    assert row["caption"].startswith("a red circle  near a star") and len(row["caption"]) <= MAX_CHARS
    assert row["phrases"] == teacher.ground(image, row["caption"])["phrases"] != []


@pytest.mark.parametrize(
    ("caption", "spans", "code"),
    [
        ("", [], "CAP_EMPTY"),
        ("a \ud800 star", [], "CAP_UTF8"),
        ("star " * 20_000, [], "CAP_LONG"),
        ("a star", [(2, 7)], "SPANS_BAD"),
        ("a star", [(2, 2)], "SPANS_BAD"),
        ("a star", [(1, 2)], "SPANS_BAD"),
    ],
)
def test_a_caption_or_a_span_that_cannot_be_used_is_refused_with_its_reason(
    teacher: gs.GroundingTeacher, caption: str, spans: list[tuple[int, int]], code: str
) -> None:
    with pytest.raises(SampleRejectedError, match=code):
        teacher.ground(Image.new("RGB", (64, 32)), caption, spans=spans)


def test_an_image_that_cannot_be_used_is_refused_with_its_reason(
    teacher: gs.GroundingTeacher, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        teacher.ground(tmp_path / "none.png", "a star")
    with pytest.raises(SampleRejectedError, match="IMG_FORMAT"):
        teacher.ground(b"no image", "a star")
    with pytest.raises(ValueError, match="expected uint8"):
        teacher.ground(np.zeros((32, 64), np.uint8), "a star")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        gs.load_teacher(tmp_path / "none")
    with pytest.raises((ConfigError, NotFoundError)):
        gs.load_student(tmp_path)


def test_the_picture_of_a_row_is_drawn_on_its_own_or_a_given_image(
    small_world: SmallWorld, teacher: gs.GroundingTeacher
) -> None:
    row = next(iter(gs.open_evidence(str(small_world.evidence))))
    image = gs.load_image(row)
    grounded = teacher.ground(image, row["caption"])

    assert gs.draw(row).size[0] == 1000
    assert gs.draw(row, max_boxes=0).tobytes() != gs.draw(row).tobytes()
    assert gs.draw(grounded, image).size == gs.draw(row).size
    with pytest.raises(ValueError, match="the image has 10 x 10 px"):
        gs.draw(row, np.zeros((10, 10, 3), np.uint8))


def test_a_changed_image_is_refused(small_world: SmallWorld, tmp_path: Path) -> None:
    row = next(iter(gs.open_evidence(str(small_world.evidence))))
    moved = tmp_path / "00000.tar"
    data = bytearray(small_world.shard.read_bytes())
    place = row["pixels"]["offset"]
    assert place is not None
    data[place + 60] ^= 0xFF
    moved.write_bytes(data)

    with pytest.raises(ConflictError, match="changed"):
        gs.load_image(row, roots={str(small_world.shard): str(moved)})


def test_a_student_has_its_model_in_evaluation_mode(small_world: SmallWorld) -> None:
    student = gs.load_student(small_world.model, device="cpu")

    assert not student.model.training and student.processor.max_tokens == 24


def test_a_teacher_is_closed_at_the_end_of_its_context(small_world, monkeypatch):
    closed = []
    with gs.load_teacher(small_world.model, device="cpu") as teacher:
        monkeypatch.setattr(teacher.labeler, "close", lambda: closed.append(True))
        assert closed == []

    assert closed == [True]
