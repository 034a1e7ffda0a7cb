"""Pixels, tokens and spans: a loss of any of them is an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.reading.images import decode_image
from schemas.errors import EmptyPhraseError
from teacher.models.glip import GlipProcessor
from teacher.models.glip.tokenizers.word import make_word_tokenizer


@pytest.fixture(scope="module")
def authors() -> GlipProcessor:
    return GlipProcessor(make_word_tokenizer(["a", "red", "dog"]))


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((480, 640), (800, 1066)),  # int(800 * 640 / 480) = 1066, not 1067
        ((640, 480), (1066, 800)),
        ((400, 1000), (533, 1332)),  # long side caps: round(1333 * 400 / 1000) = 533, int(533 * 2.5) = 1332
        ((800, 1200), (800, 1200)),
        ((100, 100), (800, 800)),
        ((300, 4000), (100, 1333)),
        ((2, 4000), (1, 2000)),  # round(0.67) = 1
        ((1, 4000), (1, 1333)),  # round(0.33) = 0 in the authors' code, which then fails
        ((4000, 1), (1333, 1)),
    ],
)
def test_the_size_rule_is_the_authors_integer_arithmetic(authors, size, target):
    assert authors.target_size(size) == target


def test_pixels_are_bgr_minus_mean_over_deviation(authors):
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = (10, 20, 30)  # red, green, blue

    values = authors.pixels([image])["pixel_values"]

    expected = [(30 - 103.53) / 57.375, (20 - 116.28) / 57.12, (10 - 123.675) / 58.395]
    assert values[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_padding_is_zero_after_normalisation_and_rounded_up_to_32(authors):
    wide, tall = np.full((40, 70, 3), 200, np.uint8), np.full((65, 30, 3), 200, np.uint8)

    padded = authors.pixels([wide, tall])

    assert padded["pixel_values"].shape == (2, 3, 96, 96)
    assert (
        padded["pixel_values"][0, :, 40:].abs().sum() == padded["pixel_values"][0, :, :, 70:].abs().sum() == 0
    )
    assert authors.image_sizes(padded["pixel_mask"]) == [(40, 70), (65, 30)]


def test_a_bucket_pads_to_its_own_size_and_refuses_a_larger_image(authors):
    image = np.zeros((40, 70, 3), np.uint8)

    assert authors.pixels([image], pad=(50, 80))["pixel_values"].shape == (1, 3, 50, 80)
    with pytest.raises(ValueError, match=r"\(40, 70\).*\(39, 80\)"):
        authors.pixels([image], pad=(39, 80))


def test_an_array_and_a_picture_of_it_give_the_same_pixels(authors):
    array = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)

    assert np.array_equal(authors.resize(array), authors.resize(Image.fromarray(array)))
    assert authors.resize(array).shape == (800, 1333, 3)


def test_images_and_texts_must_be_as_many(authors):
    with pytest.raises(ValueError, match="1 images and 2 texts"):
        authors([np.zeros((8, 8, 3), np.uint8)], ["a", "b"])
    with pytest.raises(ValueError, match="0 images and 0 texts"):
        authors([], [])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3)),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=["grey", "four channels", "float", "empty"],
)
def test_an_array_that_is_no_rgb_image_is_refused_by_shape_and_type(authors, array):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\] in RGB order, not \w+ \["):
        authors.resize(array)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "I;16"])
def test_a_picture_of_any_mode_becomes_rgb(authors, mode):
    assert authors.resize(Image.new(mode, (30, 20))).shape == (800, 1200, 3)


def test_a_phrase_covers_the_tokens_its_span_touches(processor):
    text = "a red circle. the blue  square"
    # [CLS] a red circle . the blue square [SEP]

    tokens = processor.phrase_tokens(text, [[(0, 12)], [(6, 12)], [(18, 30)], [(2, 5), (24, 30)]])

    assert tokens == [[1, 2, 3], [3], [6, 7], [2, 7]]


def test_spans_count_code_points_not_bytes(processor):
    text = "😀 é red circle"

    ((covered,),) = (processor.phrase_tokens(text, [[(text.index("red"), text.index("red") + 3)]]),)

    ids = processor.tokenizer(text)["input_ids"]
    assert [processor.tokenizer.convert_ids_to_tokens(ids[token]) for token in covered] == ["red"]


@pytest.mark.parametrize("span", [(5, 5), (5, 6), (40, 50), (3, 2)])
def test_a_span_without_a_token_raises_and_names_itself(processor, span):
    with pytest.raises(EmptyPhraseError, match=rf"\[{span[0]}, {span[1]}\)"):
        processor.phrase_tokens("a red circle", [[(0, 1)], [span]])


def test_a_phrase_without_any_span_raises(processor):
    with pytest.raises(EmptyPhraseError, match="phrase 1"):
        processor.phrase_tokens("a red circle", [[(0, 1)], []])


def test_a_phrase_beyond_the_token_limit_raises_rather_than_being_cut(processor):
    text = " ".join(["red"] * 14 + ["circle"])  # [CLS] + 15 words + [SEP], one more than 16

    assert processor.token_count(text) == 17
    assert processor.phrase_tokens(text, [[(0, 3)], [(52, 55)]]) == [[1], [14]]
    with pytest.raises(EmptyPhraseError, match="split the prompt"):
        processor.phrase_tokens(text, [[(56, 62)]])


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(st.sampled_from(["red", "circle", "zebra", "."]), min_size=1, max_size=13), data=st.data()
)
def test_every_word_finds_exactly_its_own_token(processor, words, data):
    text = " ".join(words)
    place = data.draw(st.integers(0, len(words) - 1))
    begin = len(" ".join(words[:place])) + (place > 0)

    assert processor.phrase_tokens(text, [[(begin, begin + len(words[place]))]]) == [[place + 1]]


def test_a_positive_map_has_a_one_at_each_token():
    rows = GlipProcessor.positive_map([[1, 2], [4]], width=6)

    assert rows.tolist() == [[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]


def test_tokens_are_padded_to_a_width_of_their_own(processor):
    encoded = processor.tokens(["a red circle", "square"])

    assert encoded["input_ids"].shape == (2, 16)
    assert encoded["attention_mask"].sum(dim=1).tolist() == [5, 3]
    assert torch.equal(processor.tokens(["square"])["input_ids"][0], encoded["input_ids"][1])


def test_an_unknown_word_is_unk_and_case_does_not_matter(processor):
    tokens = processor.tokenizer.convert_ids_to_tokens(processor.tokenizer("A ReD zebra.")["input_ids"])

    assert tokens == ["[CLS]", "a", "red", "[UNK]", ".", "[SEP]"]


def test_twelve_bits_in_sixteen_are_read_as_the_engine_reads_them(authors, shared_data):
    path = shared_data / "field_reports" / "gold" / "img" / "twelve_bits_in_sixteen.png"
    decoded = decode_image(path.read_bytes()).rgb_u8

    with Image.open(path) as picture:
        resized = authors.resize(picture)

    np.testing.assert_array_equal(resized, authors.resize(decoded))
    assert 0 < decoded.mean() < 255
