"""Images for models: the same pixels as the image processors of `transformers`, and padding by the image alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from schemas.errors import ConfigError, NotFoundError
from teacher.huggingface.images import ImageRules, read_image_rules
from tests.mutations import Mutation

SIDES = st.integers(16, 1500)


def make_picture(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


def save_settings(folder: Path, **settings: object) -> Path:
    values = {"size": {"shortest_edge": 64, "longest_edge": 100}, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    "size", [(480, 640), (640, 480), (333, 500), (64, 90), (30, 100), (16, 16), (16, 512), (512, 16)]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.25, 0.7]},
        {"size": {"height": 50, "width": 70}},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [123.675, 116.28, 103.53], "image_std": [58.395, 57.12, 57.375]},
    ],
    ids=["as published", "other numbers", "exact size", "no normalization", "no rescaling"],
)
def test_pixels_and_mask_equal_those_of_the_image_processor_bit_for_bit(
    tmp_path: Path, size: tuple[int, int], settings: dict[str, object]
) -> None:
    rules, image = read_image_rules(save_settings(tmp_path, **settings)), make_picture(size)
    resized = rules.resize(image)
    padded = rules.compute_padded_size((resized.shape[0], resized.shape[1]), 32)
    processor = GroundingDinoImageProcessorPil.from_pretrained(tmp_path)

    pixels, mask = rules.normalize([resized], padded)

    pad_size = {"height": padded[0], "width": padded[1]}
    theirs = processor(images=[image], pad_size=pad_size, return_tensors="np")
    assert np.array_equal(pixels, theirs["pixel_values"]) and pixels.dtype == np.float32
    assert np.array_equal(mask, theirs["pixel_mask"])


@given(SIDES, SIDES, st.integers(16, 900), st.integers(0, 900))
def test_a_resized_image_has_the_size_that_transformers_gives_it(
    height: int, width: int, shortest: int, more: int
) -> None:
    rules = ImageRules(shortest=shortest, longest=shortest + more)
    size = (height, width)
    theirs = get_size_with_aspect_ratio(size, shortest, shortest + more)

    assert rules.target_size(size) == (max(theirs[0], 1), max(theirs[1], 1))


@given(SIDES, SIDES, st.sampled_from([1, 16, 32, 64, 100]))
def test_padding_is_less_than_one_multiple_and_keeps_what_fits(
    height: int, width: int, multiple: int
) -> None:
    padded = ImageRules(shortest=64).compute_padded_size((height, width), multiple)

    assert all(
        0 <= new - old < multiple and new % multiple == 0
        for new, old in zip(padded, (height, width), strict=True)
    )


def test_rows_of_a_batch_do_not_change_each_other_and_a_blank_row_is_a_full_image() -> None:
    rules, images = ImageRules(shortest=64), [make_picture((50, 60)), make_picture((64, 40))]

    pixels, mask = rules.normalize([images[0], None, images[1]], (64, 64))

    for row, image in ((0, images[0]), (2, images[1])):
        own, own_mask = rules.normalize([image], (64, 64))
        assert np.array_equal(pixels[row], own[0]) and np.array_equal(mask[row], own_mask[0])
    assert not pixels[1].any() and mask[1].all()


def test_settings_inside_processor_config_come_first(tmp_path: Path) -> None:
    save_settings(tmp_path)
    own = {"image_processor": {"size": {"height": 8, "width": 9}, "resample": 0}}
    (tmp_path / "processor_config.json").write_text(json.dumps(own))

    rules = read_image_rules(tmp_path)

    assert rules.exact == (8, 9) and rules.resample is Image.Resampling.NEAREST


@pytest.mark.parametrize(
    "settings",
    [
        {"size": None},
        {"size": {"max_height": 3, "max_width": 3}},
        {"image_mean": [0.5]},
        {"image_std": [0.5, 0, 0.5]},
        {"resample": "best"},
        {"do_resize": False},
    ],
)
def test_settings_that_cannot_be_followed_are_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="image settings"):
        read_image_rules(save_settings(tmp_path, **settings))


def test_a_directory_without_image_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"preprocessor_config.json nor processor_config.json"):
        read_image_rules(tmp_path)


FILE = "teacher/huggingface/images.py"
PIXELS = test_pixels_and_mask_equal_those_of_the_image_processor_bit_for_bit.__name__
REFUSED = test_settings_that_cannot_be_followed_are_refused.__name__
SIZES = test_a_resized_image_has_the_size_that_transformers_gives_it.__name__
MUTATIONS = (
    Mutation(
        FILE,
        "values_C.astype(np.float64) * self.scale",
        "values_C.astype(np.float32) * np.float32(self.scale)",
        PIXELS,
    ),
    Mutation(FILE, 'if values.get("do_rescale") is False', "if False", PIXELS),
    Mutation(FILE, 'if values.get("do_normalize") is False:', "if False:", PIXELS),
    Mutation(FILE, "mask[row, :height, :width] = 1", "mask[row] = 1", PIXELS),
    Mutation(FILE, "side = round(raw)", "side = int(raw)", SIZES),
    Mutation(FILE, "max(int(raw * long / short), 1)", "max(int(side * long / short), 1)", SIZES),
    Mutation(
        FILE,
        "                mask[row] = 1\n",
        "",
        test_rows_of_a_batch_do_not_change_each_other_and_a_blank_row_is_a_full_image.__name__,
    ),
    Mutation(FILE, 'if values.get("do_resize") is False:', "if False:", REFUSED),
    Mutation(FILE, "len(numbers) != 3 or ", "", REFUSED),
    Mutation(FILE, ' or (name == "image_std" and 0 in numbers)', "", REFUSED),
)
