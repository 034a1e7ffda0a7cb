"""Spans are code points of the caption as given, whatever the caption is made of."""

import csv
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.spans import check_span
from teacher.phrases.chunkers.registry import CHUNKERS
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


def overlaps(found) -> bool:
    ordered = sorted((item.begin, item.end) for item in (*found.phrases, *found.dropped))
    return any(first[1] > second[0] for first, second in zip(ordered, ordered[1:]))


@settings(max_examples=60, deadline=None)
@given(st.lists(CAPTIONS, max_size=4))
def test_every_span_is_exact_disjoint_and_the_same_in_a_batch(captions):
    bundled().clear_cache()
    batch = bundled().find(captions)

    for caption, found in zip(captions, batch, strict=True):
        for item in (*found.phrases, *found.dropped):
            check_span(caption, item.begin, item.end, item.text)
        assert not overlaps(found)
        bundled().clear_cache()
        assert bundled().find([caption]) == [found]


LETTERS = "a red dog near two cats"
FOUND = [(LETTERS.index(text), LETTERS.index(text) + len(text)) for text in ("a red dog", "two cats")]
UNREAD = st.text(st.sampled_from("\u00ad\u200b\u200c\u200e\u200f\u202a\u202e\u2060\u2069\ufeff"), max_size=2)
BLANKS = st.sampled_from([" ", "  ", "\t", "\u00a0", "\u3000 ", "\u200b \u200f"])


@given(st.data(), st.booleans())
def test_marks_that_are_not_read_shift_no_span(data, shouted):
    """The phrases begin and end at the same letters as without the marks."""
    caption, places = data.draw(UNREAD), []
    for letter in LETTERS.upper() if shouted else LETTERS:
        caption += data.draw(UNREAD) if letter != " " else ""
        places.append(len(caption))
        caption += data.draw(BLANKS) if letter == " " else letter

    (found,) = bundled().find([caption])

    assert [(p.begin, p.end) for p in found.phrases] == [
        (places[begin], places[end - 1] + 1) for begin, end in FOUND
    ]


@pytest.mark.parametrize(
    "before",
    [
        "👩‍👩‍👧 ", "e\u0301 ", "שלום, ", "مرحبا. ", "ﬁ ﬂ. ", "\u0130\u0130: ", "𝕒𝕓. ",
        "\ud7ff\U0010ffff. ", "ǅ. ",
    ],
)  # fmt: skip
def test_letters_of_any_script_before_a_phrase_shift_no_span(before):
    caption = f"{before}{LETTERS}"

    found = SpacyPhraseFinder(PhraseSettings(language="off")).find([caption])[0]

    ends = [place + len(before) for place in (FOUND[0][1], FOUND[1][0], FOUND[1][1])]
    assert [p.end for p in found.phrases][-2:] == [ends[0], ends[2]] and found.phrases[-1].begin == ends[1]


def test_an_empty_caption_has_no_phrases():
    (found,) = bundled().find([""])

    assert found.phrases == () and found.dropped == ()


def test_capitals_whose_lower_case_is_longer_do_not_shift_what_follows():
    caption = "İİİ BIG RED CARS"

    texts = [phrase.text for phrase in bundled().find([caption])[0].phrases]

    assert texts and texts[-1].endswith("BIG RED CARS")


def web_captions(shared_data) -> list[str]:
    """Return real captions of four kinds and strings made to break programs."""
    with gzip.open(shared_data / "captions/laion_alt_text_10000.jsonl.gz", "rt", encoding="utf-8") as lines:
        captions = [json.loads(line) for line in lines]
    with gzip.open(shared_data / "captions/flickr8k_first_10000.csv.gz", "rt", encoding="utf-8") as lines:
        captions += [caption for _, caption in csv.reader(lines)]
    captions += json.loads((shared_data / "captions/coco_captions_1290.json").read_text(encoding="utf-8"))
    captions += (shared_data / "treebanks/cc3m_val_captions.txt").read_text(encoding="utf-8").split("\n")
    return captions + nasty_captions(shared_data)


def nasty_captions(shared_data) -> list[str]:
    folder = shared_data / "nasty/captions"
    odd = json.loads((folder / "laion_odd_captions.json").read_text(encoding="utf-8"))
    strings = json.loads((folder / "blns.json").read_text(encoding="utf-8"))
    return [*strings, *(caption for group in odd.values() for caption in group)]


def check_one_by_one(finder: SpacyPhraseFinder, captions: list[str], every: int) -> None:
    """Check that all spans are exact, and that every `every`-th caption has the same result alone."""
    finder.clear_cache()
    batch = finder.find(captions)
    for caption, found in zip(captions, batch, strict=True):
        for item in (*found.phrases, *found.dropped):
            check_span(caption, item.begin, item.end, item.text)
    for caption, found in list(zip(captions, batch))[::every]:
        finder.clear_cache()
        assert finder.find([caption]) == [found], caption


@pytest.mark.parametrize("chunker", ["noun_chunks", "pos_grammar", "ngrams"])
def test_some_web_captions_give_exact_spans_one_by_one_and_in_batches(shared_data, chunker):
    uses_parse = CHUNKERS.load(chunker).uses_parse
    finder = SpacyPhraseFinder(PhraseSettings(chunker=chunker, language="off", expressions=uses_parse))
    captions = web_captions(shared_data)[::250] + nasty_captions(shared_data)[::8]

    check_one_by_one(finder, captions, every=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_thousand_web_captions_give_exact_spans_one_by_one_and_in_batches(shared_data):
    captions = web_captions(shared_data)
    # To fifty thousand: the same words in capitals, and pairs over a line's end.
    captions += [caption.upper() for caption in captions[::5]]
    captions += [f"{first}\n{second}" for first, second in zip(captions[::4], captions[1::4])][
        : 50_000 - len(captions)
    ]

    assert len(captions) == 50_000
    check_one_by_one(SpacyPhraseFinder(PhraseSettings(expressions=True)), captions, every=1)
