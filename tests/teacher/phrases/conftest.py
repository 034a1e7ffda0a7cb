"""Phrase finders for all tests of this folder, since loading spaCy takes seconds, and documents parsed by hand."""

from collections.abc import Callable

import pytest
import spacy
from spacy.tokens import Doc

from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

BLANK = spacy.blank("en")


@pytest.fixture(scope="session")
def finder() -> SpacyPhraseFinder:
    return SpacyPhraseFinder(PhraseSettings())


@pytest.fixture(scope="session")
def lexicon_finder() -> SpacyPhraseFinder:
    return SpacyPhraseFinder(PhraseSettings(pipeline="lexicon"))


@pytest.fixture
def parsed() -> Callable[[str], Doc]:
    """Return a parser of `word/TAG/relation/head` items. Heads count from 1, 0 is the root."""

    def parse(text: str) -> Doc:
        rows = [item.rsplit("/", 3) for item in text.split()]
        heads = [int(head) - 1 if int(head) else i for i, (*_, head) in enumerate(rows)]
        words, tags, deps = ([row[column] for row in rows] for column in (0, 1, 2))
        return Doc(BLANK.vocab, words=words, tags=tags, deps=deps, heads=heads)

    return parse
