"""Spans that come with the input are phrases as they are; the cache never mixes them into other captions."""

import pytest

from teacher.phrases.caption_cache import CaptionCache
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

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

    assert cache.filled(["b", "a", "b"], make) == ["B", "A", "B"]
    assert cache.filled(["b", "c"], make) == ["B", "C"] and len(cache) == 2
    assert cache.filled(["a", "c"], make) == ["A", "C"]
    assert asked == [["b", "a"], ["c"], ["a"]]
