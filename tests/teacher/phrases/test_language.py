"""Captions that are not English are detected by script and function words, and treated by `language`."""

import json

import pytest
import spacy

from schemas.errors import ConfigError
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.phrases.text.language import is_english
from teacher.settings import PhraseSettings

GERMAN, ENGLISH = "Der Hund spielt mit dem Ball im Garten", "a dog plays with a ball"


@pytest.mark.parametrize(
    "caption",
    [
        GERMAN, "Une femme avec un chien dans la rue", "Una mujer con un perro en la playa", "سعر و مواصفات Redmi",
        "собака на траве", "犬が公園で遊んでいる", "Um homem e uma mulher na praia", "una donna con il cane nella casa",
    ],
)  # fmt: skip
def test_other_languages_are_told(caption):
    assert not is_english(caption)


@pytest.mark.parametrize(
    "caption",
    [
        ENGLISH, "", "12345", "red dog", "Los Angeles, the city of angels", "Die Hard poster",
        "crème brûlée with berries",
        "2000W inverter DC12V 24V", "Sliding door, screen door, barn door", "a café in São Paulo", "🐶🐶🐶",
        "Emma Stone at the Comic Con San Diego",
    ],
)  # fmt: skip
def test_english_names_and_titles_are_not_taken_for_another_language(caption):
    assert is_english(caption)


def test_no_caption_of_three_english_collections_is_refused(shared_data):
    captions = (shared_data / "treebanks/cc3m_val_captions.txt").read_text(encoding="utf-8").split("\n")
    captions += json.loads((shared_data / "captions/coco_captions_1290.json").read_text(encoding="utf-8"))

    assert [caption for caption in captions if not is_english(caption)] == []


def test_a_skipped_caption_has_no_phrase_and_says_why(lexicon_finder):
    skipped, read = lexicon_finder.find([f" {GERMAN} ", ENGLISH])

    assert skipped.phrases == () and len(read.phrases) == 2
    assert [(d.begin, d.text, d.code) for d in skipped.dropped] == [(1, GERMAN, "PH_LANGUAGE")]


def test_given_spans_of_another_language_are_kept_only_where_the_job_says_so(lexicon_finder):
    keeping = SpacyPhraseFinder(PhraseSettings(pipeline="lexicon", language="given"))

    (kept,), (skipped,) = (f.find([GERMAN], [[(0, 8)]]) for f in (keeping, lexicon_finder))

    assert [(p.text, p.kind) for p in kept.phrases] == [("Der Hund", "given")] and skipped.phrases == ()


@pytest.fixture
def german_model(tmp_path):
    nlp = spacy.blank("de")
    nlp.add_pipe("attribute_ruler").add([[{"ORTH": {"IN": ["Hund", "Ball", "Garten"]}}]], {"POS": "NOUN"})
    nlp.to_disk(tmp_path / "german")
    return str(tmp_path / "german")


@pytest.mark.parametrize("extra_nouns", [(), ("wug",)])
def test_a_model_named_for_other_languages_reads_them(german_model, extra_nouns):
    settings = PhraseSettings(
        pipeline="lexicon", chunker="pos_grammar", language=german_model, extra_nouns=extra_nouns
    )

    english, german = SpacyPhraseFinder(settings).find([ENGLISH, GERMAN])

    assert [p.text for p in german.phrases] == ["Hund", "Ball", "Garten"] and len(english.phrases) == 2


def test_a_model_for_other_languages_that_cannot_be_used_is_an_error_before_any_caption(tmp_path):
    spacy.blank("de").to_disk(tmp_path / "blank")

    with pytest.raises(ConfigError, match="needs a parser"):
        SpacyPhraseFinder(PhraseSettings(pipeline="lexicon", language=str(tmp_path / "blank")))


def test_off_reads_every_caption_as_english():
    finder = SpacyPhraseFinder(PhraseSettings(pipeline="lexicon", language="off"))

    (found,) = finder.find([GERMAN])

    assert found.phrases and all(drop.code != "PH_LANGUAGE" for drop in found.dropped)
