"""Spans are code points of the caption as given, whatever the caption is made of."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.spans import check_span
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

PIECES = st.sampled_from(
    [
        "a red dog", "two cats", "the", "İstanbul", "e\u0301cole", "👩‍👩‍👧", "🐶", "שלום",
        "مرحبا بالعالم", "ﬁsh", "ß", "\u200f",
        "\u202e", " ", "  ", "\n", "\t", "\u00a0", "\u2028", ",", " - ", "'s", "|", "#tag",
        "<b>", "&amp;", "x.jpg", "7", "ǅ", "A BIG CAR",
        "of", "and", "(", "\u0000", "it", "ﷺ", "𝕒 𝕕𝕠𝕘",
    ]
)  # fmt: skip
CAPTIONS = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=9).map(
    lambda pieces: " ".join(pieces).encode("utf-8", "replace").decode()
)
FINDER: list[SpacyPhraseFinder] = []


def bundled() -> SpacyPhraseFinder:
    if not FINDER:
        FINDER.append(SpacyPhraseFinder(PhraseSettings()))
    return FINDER[0]


def spans(found) -> list[tuple[int, int]]:
    return sorted((item.begin, item.end) for item in (*found.phrases, *found.dropped))


@settings(max_examples=150, deadline=None)
@given(st.lists(CAPTIONS, max_size=4))
def test_every_span_is_exact_disjoint_and_the_same_in_a_batch(captions):
    batch = bundled().find(captions)

    for caption, found in zip(captions, batch, strict=True):
        for item in (*found.phrases, *found.dropped):
            check_span(caption, item.begin, item.end, item.text)
        ordered = spans(found)
        assert all(first[1] <= second[0] for first, second in zip(ordered, ordered[1:]))
        assert bundled().find([caption]) == [found]


def test_an_empty_caption_has_no_phrases():
    (found,) = bundled().find([""])

    assert found.phrases == () and found.dropped == ()


def test_capitals_whose_lower_case_is_longer_do_not_shift_what_follows():
    caption = "İİİ BIG RED CARS"

    texts = [phrase.text for phrase in bundled().find([caption])[0].phrases]

    assert texts and texts[-1].endswith("BIG RED CARS")


@pytest.mark.parametrize("chunker", ["noun_chunks", "pos_grammar"])
def test_web_alt_texts_give_exact_spans_one_by_one_and_in_batches(shared_data, chunker):
    with gzip.open(
        shared_data / "captions" / "laion_alt_text_10000.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        captions = [json.loads(line) for line, _ in zip(lines, range(1500))]
    finder = SpacyPhraseFinder(PhraseSettings(chunker=chunker))

    batch = finder.find(captions)

    for caption, found in zip(captions, batch, strict=True):
        for item in (*found.phrases, *found.dropped):
            check_span(caption, item.begin, item.end, item.text)
    assert [finder.find([caption])[0] for caption in captions[:300]] == batch[:300]
