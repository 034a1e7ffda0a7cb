"""Boxes of other files: clipped, turned round or refused, and moved into the stored upright image."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipelines.exchange.gold.box_frames import make_frame
from pipelines.exchange.gold.images import open_images
from student.gold.account import RecordError
from student.gold.boxes import read_box, rotate_box
from student.gold.images.names import check_file_name

SIDES = st.floats(-50, 150)


def read(value: object, form: str = "xyxy") -> tuple[tuple[float, ...], set[str]]:
    repairs: set[str] = set()
    return read_box(value, form, 100, 80, repairs), repairs


@pytest.mark.parametrize(
    ("value", "form", "box", "repairs"),
    [
        ([1, 2, 3, 4], "xyxy", (1, 2, 3, 4), set()),
        ([1, 2, 3, 4], "xywh", (1, 2, 4, 6), set()),
        ([0, 0, 100.004, 80], "xyxy", (0, 0, 100, 80), set()),  # two decimals were rounded
        ([-5, 2, 120, 4], "xyxy", (0, 2, 100, 4), {"box_clipped"}),
        ([3, 4, 1, 2], "xyxy", (1, 2, 3, 4), {"corners_swapped"}),
    ],
)
def test_a_box_is_kept_or_mended(value: list, form: str, box: tuple, repairs: set[str]) -> None:
    assert read(value, form) == (box, repairs)


@pytest.mark.parametrize(
    ("value", "form", "code"),
    [
        ([1, 2, 1, 4], "xyxy", "box_empty"),
        ([3, 3, 0, 9], "xywh", "box_empty"),
        ([100, 0, 5, 5], "xywh", "box_empty"),
        ([5, 5, -2, 3], "xywh", "box_negative"),
        ([1, 2, 3], "xyxy", "box_not_numbers"),
        ([1, 2, 3, "4"], "xyxy", "box_not_numbers"),
        ([1, 2, 3, True], "xyxy", "box_not_numbers"),
        ([1, 2, 3, float("nan")], "xyxy", "box_not_numbers"),
        ([1, 2, 3, 10**400], "xyxy", "box_not_numbers"),
        (None, "xyxy", "box_not_numbers"),
    ],
)
def test_a_box_that_cannot_be_meant_is_refused_with_its_code(value: object, form: str, code: str) -> None:
    with pytest.raises(RecordError) as refused:
        read(value, form)
    assert refused.value.code == code


@given(st.lists(SIDES, min_size=4, max_size=4))
def test_whatever_the_numbers_a_box_lies_in_the_image_or_is_refused(value: list[float]) -> None:
    try:
        (x0, y0, x1, y1), _ = read(value)
    except RecordError as refused:
        assert refused.code == "box_empty"
        return
    assert 0 <= x0 < x1 <= 100 and 0 <= y0 < y1 <= 80


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_box_holds_the_pixels_that_pillow_turns(orientation: int) -> None:
    pixels = np.zeros((8, 12), dtype=np.uint8)
    pixels[1:4, 2:9] = 255
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))

    x0, y0, x1, y1 = map(int, rotate_box((2, 1, 9, 4), orientation, 12, 8))

    expected = np.zeros_like(upright)
    expected[y0:y1, x0:x1] = 255
    assert np.array_equal(upright, expected)


def test_a_smaller_copy_scales_boxes_and_one_of_another_shape_is_refused(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture("small.jpg", 32, 24)
    picture("padded.jpg", 64, 64)
    images = open_images(str(tmp_path / "images"))
    size = {"width": 64, "height": 48}

    frame = make_frame(size, "small.jpg", images)

    assert frame.repairs == ("scaled_to_stored",) and frame.place((10, 20, 64, 48)) == (5, 10, 32, 24)
    with pytest.raises(RecordError, match="image_shape"):
        make_frame(size, "padded.jpg", images)


def test_boxes_in_the_frame_before_the_exif_turn_are_turned(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture("rotate_box.jpg", 64, 48, orientation=6)
    images = open_images(str(tmp_path / "images"))

    before = make_frame({"width": 64, "height": 48}, "rotate_box.jpg", images)
    upright = make_frame({"width": 48, "height": 64}, "rotate_box.jpg", images)

    assert before.repairs == ("turned_upright",) and before.place((0, 0, 10, 5)) == (43, 0, 48, 10)
    assert upright.repairs == () and upright.place((0, 0, 10, 5)) == (0, 0, 10, 5)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../one.jpg", "a/../../b.jpg", "C:\\one.jpg", "a\\..\\b", "", "a\0"]
)
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(RecordError, match="file_name_unsafe"):
        check_file_name(name)


def test_images_are_found_without_their_first_folders_and_by_pattern(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture("coco/one.jpg")

    short = open_images(str(tmp_path / "images" / "coco")).find("train2017/one.jpg", {})
    pattern = open_images(str(tmp_path / "images" / "{data_source}" / "{stem}.jpg"))

    assert pattern.find("x/one.png", {"data_source": "coco"}).sha256 == short.sha256
    with pytest.raises(RecordError, match="image_missing"):
        pattern.find("one.jpg", {"data_source": "vg"})
    with pytest.raises(RecordError, match="file_name_unsafe"):
        pattern.find("one.jpg", {"data_source": "../coco"})


def write_shard(path: Path, pictures: dict[str, Path]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, picture in pictures.items():
            tar.add(picture, name)


def test_samples_of_shards_are_found_by_key_by_shard_and_key_or_by_an_unshared_last_part(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    small, large = picture("small.jpg", 32, 24), picture("large.jpg")
    write_shard(tmp_path / "0.tar", {"a/1.jpg": small, "2.jpg": small, "2.txt": small})
    write_shard(tmp_path / "1.tar", {"b/1.jpg": large, "2.JPG": large, "3.png": large})
    shards = open_images(str(tmp_path / "*.tar"))

    widths = {
        name: shards.find(name, {}).width for name in ("a/1.jpg", "b/1", "0.tar/2", "1.tar/2", "x/3.jpg")
    }

    assert widths == {"a/1.jpg": 32, "b/1": 64, "0.tar/2": 32, "1.tar/2": 64, "x/3.jpg": 64}
    for shared in ("1.jpg", "2.jpg"):
        with pytest.raises(RecordError, match="image_ambiguous"):
            shards.find(shared, {})
    with pytest.raises(RecordError, match="image_missing"):
        shards.find("4.jpg", {})


def test_an_image_that_cannot_be_decoded_is_refused(tmp_path: Path, picture: Callable[..., Path]) -> None:
    path = picture("cut.jpg")
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(RecordError, match="image_bad"):
        open_images(str(tmp_path / "images")).find("cut.jpg", {})
