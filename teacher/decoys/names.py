"""The names by which captions and training may know a noun of a pool: itself, its singular, its head.

Promise: a function of the noun and the bundled lexicon; the noun itself is always among them.
"""

from __future__ import annotations

import functools

from teacher.phrases.tagging.lexicon import singularize


@functools.lru_cache(maxsize=65_536)
def names_of(noun: str) -> tuple[str, ...]:
    """The noun, the noun with its head in the singular, and its head alone, each once.

    `toy cars` -> `toy cars`, `toy car`, `car`. A list that a user gives may hold plurals and compounds that no table
    of relations knows.
    """
    *before, last = noun.split(" ")
    head = singularize(last)
    return tuple(dict.fromkeys((noun, " ".join((*before, head)), head)))
