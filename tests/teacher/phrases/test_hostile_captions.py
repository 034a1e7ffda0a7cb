"""Captions made to be slow: 16 KiB of one thing each, which took minutes before runs were bounded."""

import time

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from teacher.phrases.text.bounded_tokenizer import BoundedTokenizer


@pytest.mark.parametrize("piece", ["dog ", "#tag ", "(", "🐶", "'s", "a@", "<b", "http://", "x.jpg", "red, "])
def test_a_long_caption_of_one_thing_is_read_in_seconds(finder, piece):
    caption = (piece * 16_000)[:16_000]
    start = time.process_time()

    (found,) = finder.find([caption])

    assert time.process_time() - start < 10
    assert all(caption[p.begin : p.end] == p.text for p in found.phrases)


PLAIN = spacy.blank("en").tokenizer


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["x" * 99, "x" * 100, "é" * 250, " ", "\n", "a dog", "(((", "'s" * 80, "🐶" * 120])
    )
)
def test_the_bounded_tokenizer_keeps_every_character(pieces):
    text = "".join(pieces)

    doc = BoundedTokenizer(PLAIN)(text)

    assert doc.text == text


def test_ordinary_text_is_tokenised_as_spacy_does():
    text = "It's a well-known e.g. U.K. site (www.example.org), isn't it?  Yes\n- " + "y" * 99

    assert [t.text for t in BoundedTokenizer(PLAIN)(text)] == [t.text for t in PLAIN(text)]
