"""Spans of other files: kept, found again, widened or refused; never dropped in silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.exchange.gold.rows import find_head
from student.gold.account import RecordError
from student.gold.spans import find_phrase, read_spans

CAPTION = "a man 🐕 and a red café"  # code points: the dog is one


def read(value: object, caption: str = CAPTION, texts: list[str] | None = None) -> tuple[list[str], set[str]]:
    repairs: set[str] = set()
    spans = read_spans(value, caption, texts, repairs)
    return [caption[begin:end] for begin, end in spans], repairs


@pytest.mark.parametrize(
    ("value", "texts", "repairs"),
    [
        ([[0, 5]], ["a man"], set()),
        ([[14, 22]], ["red café"], set()),
        ([[0, 1], [2, 5]], ["a man"], set()),  # one word each, blanks between
        ([[1, 6]], ["man"], {"span_trimmed"}),
        ([[14, 23]], ["red café"], {"span_trimmed"}),
        ([[14, 24]], ["a red café"], {"span_moved"}),  # two behind the end: moved by two
        ([[13, 16]], ["red"], {"span_moved"}),
        ([[15, 23]], ["red café"], {"span_moved"}),
        ([[15, 22]], ["red café"], {"span_widened"}),
        ([[0, 5], [14, 17]], ["a man", "red"], {"spans_split"}),
    ],
)
def test_spans_without_their_text(value: list, texts: list[str], repairs: set[str]) -> None:
    assert read(value) == (texts, repairs)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "no_span"),
        ([], "no_span"),
        ([[0]], "span_outside"),
        ([[5, 5]], "span_outside"),
        ([[-1, 3]], "span_outside"),
        ([[0, 40]], "span_outside"),
        ([[0.0, 5.0]], "span_outside"),
        ([[True, 5]], "span_outside"),
        ([[5, 6]], "span_outside"),  # a blank
    ],
)
def test_what_is_no_span_is_refused_with_its_code(value: object, code: str) -> None:
    with pytest.raises(RecordError) as refused:
        read(value)
    assert refused.value.code == code


def test_where_the_text_is_told_it_is_found_again() -> None:
    assert read([[0, 5]], texts=["a man"]) == (["a man"], set())
    assert read([[1, 6]], texts=["a man"]) == (["a man"], {"span_moved"})
    assert read([[0, 5], [12, 22]], texts=["a man", "a red café"]) == (
        ["a man", "a red café"],
        {"spans_split"},
    )
    assert read([[0, 5]], "A Man", ["a man"]) == (["A Man"], set())
    with pytest.raises(RecordError, match="span_wrong"):
        read([[0, 5]], texts=["a woman"])


def test_a_caption_written_without_blanks_is_not_widened_to_its_end() -> None:
    assert read([[2, 4]], "一只红色的狗在跑") == (["红色"], set())


def test_a_phrase_without_a_span_is_looked_for_as_whole_words() -> None:
    def found(text: str, caption: str, taken: set = frozenset()) -> tuple[tuple[int, int], set[str]]:
        repairs: set[str] = set()
        return find_phrase(text, caption, set(taken), repairs), repairs

    assert found("man", "a woman and a man") == ((14, 17), set())
    assert found("a dog", "a dog and a dog") == ((0, 5), {"span_ambiguous"})
    assert found("a dog", "a dog and a dog", {(0, 5)}) == ((10, 15), {"span_ambiguous"})
    assert found("a  DOG", "see a dog") == ((4, 9), {"span_case"})
    assert found("(x+)", "the (x+) sign") == ((4, 8), set())  # never a pattern
    with pytest.raises(RecordError, match="phrase_not_in_caption"):
        found("a cat", "a dog")


@given(
    st.text("ab é🐕.", min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(-2, 15), st.integers(-2, 15)).map(list), max_size=3),
)
def test_whatever_is_said_a_span_is_a_piece_of_the_caption_with_no_blank_at_its_ends(
    caption: str, value: list[list[int]]
) -> None:
    try:
        texts, _ = read(value, caption)
    except RecordError as refused:
        assert refused.code in ("no_span", "span_outside")
        return
    assert texts and all(text and text == text.strip() and text in caption for text in texts)


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("A group of friends", "group"),
        ("Six white males", "male"),
        ("the man, a doctor", "man"),
        ("dogs", "dog"),
        ("Heart graphics", "graphic"),
        ("of", "of"),
        ("...", "..."),
    ],
)
def test_the_head_of_a_marked_phrase(phrase: str, head: str) -> None:
    assert find_head(phrase) == head
