"""GLIP's own noun phrases by tags alone: determiner, adjectives, nouns (`NP: {<DT>?<JJ.*>*<NN.*>+}` in its demo)."""

from __future__ import annotations

from collections.abc import Iterator

from teacher.phrases.chunkers.registry import ChunkerEntry
from teacher.phrases.text.token_lists import NOUN_TAGS, Chunk, Words

_ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})


def find_tag_chunks(words: Words) -> Iterator[Chunk]:
    """Yield the longest matches from the left, as NLTK's RegexpParser finds them."""
    tags, count = words.tags, len(words)
    i = 0
    while i < count:
        place = i + (tags[i] == "DT")
        while place < count and tags[place] in _ADJECTIVES:
            place += 1
        end = place
        while end < count and tags[end] in NOUN_TAGS:
            end += 1
        if end > place:
            yield Chunk(i, end, end - 1)
        i = max(end, i + 1) if end > place else i + 1


ENTRY = ChunkerEntry(
    description="determiner, adjectives, nouns by part of speech alone, as GLIP's demo does",
    make=lambda nlp: find_tag_chunks,
    uses_parse=False,
)
