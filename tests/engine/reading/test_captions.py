from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reading.captions import MAX_BYTES, MAX_CHARS, clean_caption, decode_caption
from schemas.errors import SampleRejectedError


def code_of(data: bytes) -> str:
    with pytest.raises(SampleRejectedError) as caught:
        decode_caption(data)
    return caught.value.code


@given(st.text(max_size=300))
def test_the_stored_caption_has_the_given_ones_code_points(text: str) -> None:
    try:
        given_text = text + " x"
        stored = clean_caption(given_text)
    except SampleRejectedError as rejected:
        assert rejected.code == "CAP_UTF8"
        return

    assert len(stored.text) == len(given_text)
    assert all(a == b or b == " " for a, b in zip(given_text, stored.text, strict=True))
    assert decode_caption(given_text.encode()) == stored


def test_controls_become_one_blank_each() -> None:
    assert clean_caption("a\x00cat\r\non\u2028a\x7fmat").text == "a cat  on a mat"


def test_joiners_and_marks_of_direction_stay() -> None:
    caption = "\u202ba \N{FAMILY}\u200d\u0301 İstanbul ﬁsh"

    assert clean_caption(caption).text == caption


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xfea cat", "CAP_UTF8"),
        (b"\xed\xa0\x80 a cat", "CAP_UTF8"),
        (b"", "CAP_EMPTY"),
        (b" \t..!?", "CAP_EMPTY"),
        (b"a" * (MAX_BYTES + 1), "CAP_LONG"),
    ],
)
def test_what_is_no_caption_has_its_code(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_a_lone_surrogate_in_json_text_is_rejected() -> None:
    with pytest.raises(SampleRejectedError, match="CAP_UTF8"):
        clean_caption("a \ud800 cat")


def test_a_long_caption_is_cut_between_words_and_says_so() -> None:
    words = "word " * 600

    stored = clean_caption(words)

    assert len(stored.text) <= MAX_CHARS
    assert words.startswith(stored.text) and stored.text.endswith("word")
    assert stored.cut_from == len(words)


def test_a_long_caption_without_blanks_is_cut_all_the_same() -> None:
    assert len(clean_caption("x" * 5_000).text) == MAX_CHARS
