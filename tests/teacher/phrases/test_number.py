"""The number of a phrase: by what counts it, else by the form of its head."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher.phrases.judge.number import phrase_number

SINGULAR = [
    ("a red dog", "dog"), ("the bus", "bus"), ("glass", "glass"), ("a cross", "cross"), ("sheep", "sheep"),
    ("a pair of scissors", "scissors"), ("his blue jeans", "jean"), ("a man with two dogs", "man"),
    ("one of the dogs", "one"), ("every car", "car"), ("a two-story house", "house"), ("a water", "water"),
    ("the boy's hat", "hat"), ("[UNK]", "zorb"), ("", ""),
]  # fmt: skip
PLURAL = [
    ("dogs", "dog"), ("two dogs", "dog"), ("2 sheep", "sheep"), ("several fish", "fish"), ("men", "man"),
    ("a group of people", "people"), ("a few cars", "car"), ("a couple of bikes", "bike"), ("people", "people"),
    ("a man's hands", "hand"), ("dogs on a beach", "dog"), ("Two Red Boats", "boat"), ("three pairs of jeans", "jean"),
    ("young children", "child"),
]  # fmt: skip
MASS = [
    ("green grass", "grass"),
    ("some water", "water"),
    ("lots of sand", "sand"),
    ("her long hair", "hair"),
]


@pytest.mark.parametrize(
    ("text", "root", "number"),
    [
        (*one, name)
        for name, cases in (("singular", SINGULAR), ("plural", PLURAL), ("mass", MASS))
        for one in cases
    ],
)
def test_the_number_is_read_from_what_counts_the_head_and_then_from_its_form(
    text: str, root: str, number: str
) -> None:
    assert phrase_number(text, root) == number


@given(st.text(max_size=30), st.text(max_size=10))
def test_any_text_has_one_of_three_numbers(text: str, root: str) -> None:
    assert phrase_number(text, root) in ("singular", "plural", "mass")
