"""Boxes follow their pixels through every augmentation, and labels say what the prompt and the boxes say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student.batches.geometry import AffineAugmentation, augment_boxes, augment_image, sample_augmentation
from student.batches.targets import make_targets
from student.data.examples import ExamplePhrase, TrainingExample, make_example
from student.prompts.training_prompt import PromptSpan, TrainingPrompt, make_caption_prompt
from student.settings.train import AugmentSettings

SIZE = 96


def labels_of(
    boxes: list[list[float]], spans: tuple[PromptSpan, ...], tokens: list[list[int]], motion=None, **sizes
):
    ones = np.ones(len(boxes), np.float32)
    one = TrainingExample("x", {}, "", "", (), np.array(boxes, np.float32).reshape(-1, 4), ones, ones * 0.5)
    hw = {"stored_hw": (SIZE, SIZE), "input_hw": (SIZE, SIZE), **sizes}
    return make_targets(
        one,
        TrainingPrompt("", spans, "caption"),
        tokens,
        6,
        motion or AffineAugmentation(),
        min_visible=0.4,
        **hw,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_box_stays_on_its_pixels_under_any_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x0, y0 = rng.integers(30, 40, 2)
    x1, y1 = x0 + rng.integers(14, 22), y0 + rng.integers(14, 22)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    motion = sample_augmentation(rng, AugmentSettings())

    moved = augment_image(image, motion)
    box, seen = augment_boxes(np.array([[x0, y0, x1, y1]], np.float32), motion, SIZE, SIZE)

    rows, columns = np.nonzero(moved[:, :, 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert moved.shape == image.shape and seen[0] == pytest.approx(1)
    assert np.abs(box[0] - found).max() <= 1


def test_the_identity_motion_changes_no_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)

    assert np.array_equal(augment_image(image, AffineAugmentation()), image)


def test_a_mirror_alone_is_exact_and_its_own_inverse() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    mirror = AffineAugmentation(scale_x=-1.0, shift_x=1.0)

    assert np.array_equal(augment_image(image, mirror), image[:, ::-1])
    box, _ = augment_boxes(np.array([[2, 3, 7, 9]], np.float32), mirror, 30, 20)
    assert box.tolist() == [[23, 3, 28, 9]]


def test_labels_are_inclusive_pixels_of_the_network_input() -> None:
    span = (PromptSpan(0, 1, boxes=(0,)),)

    labels = labels_of([[10, 20, 11, 21]], span, [[1]])
    doubled = labels_of([[10, 20, 31, 41]], span, [[1]], input_hw=(192, 192))

    assert labels["boxes"].tolist() == [[10, 20, 10, 20]]  # one pixel is one inclusive pixel
    assert doubled["boxes"].tolist() == [[20, 40, 60, 80]]


def test_a_box_of_two_phrases_speaks_to_the_tokens_of_both() -> None:
    spans = (PromptSpan(0, 1, boxes=(0,)), PromptSpan(2, 3, boxes=(0, 1)))
    labels = labels_of([[0, 0, 20, 20], [30, 30, 60, 60]], spans, [[1], [3, 4]])

    assert labels["positive_map"].tolist() == [[0, 1, 0, 1, 1, 0], [0, 0, 0, 1, 1, 0]]
    assert labels["token_weight"].tolist() == [0.5, 0.5]


def test_tokens_of_a_masked_span_are_out_of_the_loss_and_no_others() -> None:
    spans = (PromptSpan(0, 1, masked=True), PromptSpan(2, 3, boxes=(0,)))
    labels = labels_of([[0, 0, 20, 20]], spans, [[1, 2], [4]])

    assert labels["token_mask"].tolist() == [1, 0, 0, 1, 1, 1]


def test_a_box_that_mostly_left_the_image_is_ignored_for_its_tokens() -> None:
    away = AffineAugmentation(shift_x=-0.3)
    span = (PromptSpan(0, 1, boxes=(0, 1)),)
    labels = labels_of([[10, 0, 34, 20], [50, 50, 80, 80]], span, [[2]], motion=away)

    assert len(labels["boxes"]) == 1
    assert labels["ignore_boxes"].shape == (1, 4)
    assert labels["ignore_map"].tolist() == [[0, 0, 1, 0, 0, 0]]


def test_a_box_that_the_prompt_does_not_ask_for_is_no_label() -> None:
    labels = labels_of([[0, 0, 20, 20], [30, 30, 60, 60]], (PromptSpan(0, 1, boxes=(1,)),), [[1]])

    assert labels["boxes"].tolist() == [[30, 30, 59, 59]]


def test_an_image_without_boxes_has_empty_labels() -> None:
    labels = labels_of([], (PromptSpan(0, 1),), [[1]])

    assert labels["boxes"].shape == (0, 4) and labels["positive_map"].shape == (0, 6)


def region(phrase: int, x0: float, **more: object) -> dict:
    base = {
        "phrase": phrase,
        "x0": x0,
        "y0": 0.0,
        "x1": x0 + 20,
        "y1": 20.0,
        "weight": 0.8,
        "fate": "positive",
    }
    return {**base, **more}


def view_row(regions: list[dict], fates: list[str]) -> dict:
    texts = ["a cat", "a dog", "a cow"]
    phrases = [
        {
            "begin": 8 * i,
            "end": 8 * i + 5,
            "text": texts[i],
            "root": texts[i][2:],
            "kind": "chunk",
            "fate": fate,
        }
        for i, fate in enumerate(fates)
    ]
    row = {"unit": "u", "key": "k", "pixels": {}, "image_sha256": "", "caption": "a cat - a dog - a cow"}
    return {**row, "phrases": phrases, "regions": regions}


def test_equal_boxes_of_two_phrases_are_one_box() -> None:
    one = make_example(view_row([region(0, 5), region(1, 5), region(1, 40)], ["positive", "positive"]))

    assert [phrase.boxes for phrase in one.phrases] == [(0,), (0, 1)]
    assert len(one.boxes_xyxy_px_G4) == 2


def test_an_ignored_region_adds_no_weight_to_the_box_it_shares() -> None:
    one = make_example(
        view_row([region(0, 5), region(1, 5, fate="ignore", weight=1.0)], ["positive", "unresolved"])
    )

    assert one.box_weight_G[0] == one.token_weight_G[0] == pytest.approx(0.8)


def test_class_only_regions_teach_tokens_and_no_place_and_ignored_ones_teach_nothing() -> None:
    rows = [region(0, 5, fate="class_only"), region(1, 40, fate="ignore")]
    one = make_example(view_row(rows, ["positive", "unresolved"]))

    assert one.box_weight_G[0] == 0 and one.token_weight_G[0] == pytest.approx(0.8)
    assert one.phrases[1] == ExamplePhrase(8, 13, "a dog", "dog", "unresolved", (), (1,))
    assert [(span.masked, span.ignored) for span in make_caption_prompt(one).spans] == [
        (False, ()),
        (True, (1,)),
    ]
