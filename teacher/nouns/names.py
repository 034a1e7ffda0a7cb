"""The names of a noun (itself, its singular, its head), and the nouns that a caption may name.

They depend on the text and the bundled lexicon alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from teacher.phrases.tagging.lexicon import load_lexicon, singularize

_NOUN_TAGS = ("NN", "NNS", "NNP", "NNPS", "VB")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


@functools.lru_cache(maxsize=65_536)
def list_names(noun: str) -> tuple[str, ...]:
    """Return the noun, the noun with its head in the singular, and its head alone, each once.

    `toy cars` -> `toy cars`, `toy car`, `car`. A user's list may contain plurals and compounds that no table of
    relations knows.
    """
    *before, last = noun.split(" ")
    head = singularize(last)
    return tuple(dict.fromkeys((noun, " ".join((*before, head)), head)))


def find_caption_nouns(caption: str, heads: Iterable[str]) -> set[str]:
    """Return everything that a caption may name: heads of phrases, all words, singular forms and pairs of words."""
    found = {*heads, *(match.group() for match in _WORD.finditer(caption.lower()))}
    words = _split_words(caption)
    singular = [singularize(word) for word in words]
    found.update(words, singular)
    found.update(f"{first} {last}" for first, last in zip(words, singular[1:]))
    return found


def find_likely_nouns(caption: str) -> set[str]:
    """Return what a caption may name by words that are not most often an adjective, a participle or a function word.

    Each word counts in the singular, alone and with the word before it.
    """
    words, found = _split_words(caption), set[str]()
    for before, word in zip(("", *words), words):
        if _is_likely_noun(word):
            found.update((word, singularize(word), f"{before} {singularize(word)}".strip()))
    return found


def _split_words(caption: str) -> list[str]:
    """Return the words of a caption in lower case, split at hyphens."""
    return [part for match in _WORD.finditer(caption.lower()) for part in match.group().split("-")]


@functools.lru_cache(maxsize=65_536)
def _is_likely_noun(word: str) -> bool:
    """Return whether the word is most often a noun, or a verb without ending, which is often a noun as well."""
    scores = load_lexicon().score_tags(word)
    return max(sorted(scores), key=lambda tag: scores[tag]) in _NOUN_TAGS
