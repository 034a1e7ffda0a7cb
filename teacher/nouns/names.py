"""The names of a noun (itself, its singular, its head), and the nouns that a caption may name.

They depend on the text and the bundled lexicon alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from teacher.phrases.tagging.lexicon import singularize

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
    found, words = set(heads), list[str]()
    for match in _WORD.finditer(caption.lower()):
        parts = match.group().split("-")
        found.add(match.group())
        words += parts
    singular = [singularize(word) for word in words]
    found.update(words, singular)
    found.update(f"{first} {last}" for first, last in zip(words, singular[1:]))
    return found
