"""N-grams of words as in OWL-ST (arXiv 2306.09683, section 3.1): no grammar, every run of words with a meaning.

N-grams overlap. Runs that begin or end in a function word are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from teacher.phrases.chunkers.registry import ChunkerEntry
from teacher.phrases.text.language import FUNCTION_WORDS
from teacher.phrases.text.token_lists import Chunk, Words

MAX_WORDS = 4
_EMPTY = FUNCTION_WORDS["en"]


def find_ngrams(words: Words) -> Iterator[Chunk]:
    """Yield runs of one to `MAX_WORDS` words without punctuation, ordered by start and length."""
    usable = [any(character.isalnum() for character in form) for form in words.lower]
    for start, form in enumerate(words.lower):
        if not usable[start] or form in _EMPTY:
            continue
        for end in range(start + 1, min(start + MAX_WORDS, len(words)) + 1):
            if not usable[end - 1]:
                break
            if words.lower[end - 1] not in _EMPTY:
                yield Chunk(start, end, end - 1)


ENTRY = ChunkerEntry(
    description="runs of up to four words, as OWL-ST does",
    make=lambda nlp: find_ngrams,
    kind="ngram",
)
