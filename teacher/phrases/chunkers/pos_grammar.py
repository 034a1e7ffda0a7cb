"""GLIP's own noun phrases: determiner, adjectives, nouns (`NP: {<DT>?<JJ.*>*<NN.*>+}` in its demo), by tags alone."""

from __future__ import annotations

from collections.abc import Iterator

from teacher.phrases.text.token_lists import NOUN_TAGS, Chunk, Words

_ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})


def pos_chunks(words: Words) -> Iterator[Chunk]:
    """Longest matches from the left, as NLTK's RegexpParser finds them."""
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
