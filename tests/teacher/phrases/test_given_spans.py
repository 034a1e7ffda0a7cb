"""Spans of the input become phrases unchanged. The cache never mixes them into other captions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher.phrases.caption_cache import CaptionCache
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

FINDER = SpacyPhraseFinder(PhraseSettings(pipeline="lexicon", chunker="given", language="off"))
CAPTION = "two\u200b  red dogs at the photo"


def test_given_spans_come_first_exact_and_unjudged(lexicon_finder):
    begin = CAPTION.index("the photo")
    (found,) = lexicon_finder.find([CAPTION], [[(begin, len(CAPTION)), (0, 14)]])

    assert [(p.text, p.kind, p.root) for p in found.phrases] == [
        ("the photo", "given", "photo"),
        ("two\u200b  red dogs", "given", "dog"),
    ]


def test_with_the_chunker_given_nothing_else_is_looked_for():
    finder = SpacyPhraseFinder(PhraseSettings(pipeline="lexicon", chunker="given"))

    one, none = finder.find(["a dog and a cat", "a bird"], [[(0, 5)], []])

    assert [p.text for p in one.phrases] == ["a dog"] and none.phrases == ()


@pytest.mark.parametrize("span", [(0, 99), (3, 3), (-1, 2), (4, 2)])
def test_a_span_that_leaves_its_caption_is_an_error(lexicon_finder, span):
    with pytest.raises(ValueError, match="span"):
        lexicon_finder.find(["a dog"], [[span]])


@pytest.mark.parametrize(
    ("caption", "blank"),
    [("a dog\u200b", (5, 6)), ("a dog ", (5, 6)), ("a dog\u200b \u200f", (5, 8)), ("\u200b a dog", (0, 2))],
)
def test_a_span_of_blanks_and_invisible_marks_is_dropped_and_costs_the_others_nothing(
    lexicon_finder, caption, blank
):
    begin = caption.index("dog")

    (found,) = lexicon_finder.find([caption], [[blank, (begin, len(caption))]])

    assert [(p.begin, p.end, p.kind, p.root) for p in found.phrases][:1] == [
        (begin, len(caption), "given", "dog")
    ]
    assert [(d.begin, d.end, d.code) for d in found.dropped] == [(*blank, "PH_JUNK")]


@given(st.text(st.sampled_from("a dog\u200b\u0130\n\t\u00a0é🐶م's-"), min_size=1, max_size=12), st.data())
def test_any_span_of_any_caption_is_a_phrase_or_dropped(caption, data):
    begin = data.draw(st.integers(0, len(caption) - 1))
    end = data.draw(st.integers(begin + 1, len(caption)))

    (found,) = FINDER.find([caption], [[(begin, end)]])

    assert (begin, end) in {(item.begin, item.end) for item in (*found.phrases, *found.dropped)}


def test_a_caption_is_found_the_same_after_it_was_asked_with_spans(lexicon_finder):
    before = lexicon_finder.find(["a dog near the sea"])
    lexicon_finder.find(["a dog near the sea"], [[(2, 5)]])

    assert lexicon_finder.find(["a dog near the sea"]) == before


def test_the_cache_asks_once_forgets_the_oldest_and_keeps_the_order():
    asked: list[list[str]] = []
    cache: CaptionCache[str] = CaptionCache(capacity=2)

    def make(captions: list[str]) -> list[str]:
        asked.append(captions)
        return [caption.upper() for caption in captions]

    assert cache.get_or_make(["b", "a", "b"], make) == ["B", "A", "B"]
    assert cache.get_or_make(["b", "c"], make) == ["B", "C"] and len(cache) == 2
    assert cache.get_or_make(["a", "c"], make) == ["A", "C"]
    assert asked == [["b", "a"], ["c"], ["a"]]
