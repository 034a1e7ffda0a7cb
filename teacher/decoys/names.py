"""The names that captions and training may use for a noun of a pool: the noun, its singular, its head.

They depend on the noun and the bundled lexicon alone. The noun itself is always one of them.
"""

from __future__ import annotations

import functools

from teacher.phrases.tagging.lexicon import singularize


@functools.lru_cache(maxsize=65_536)
def list_names(noun: str) -> tuple[str, ...]:
    """Return the noun, the noun with its head in the singular, and its head alone, each once.

    `toy cars` -> `toy cars`, `toy car`, `car`. A user's list may contain plurals and compounds that no table of
    relations knows.
    """
    *before, last = noun.split(" ")
    head = singularize(last)
    return tuple(dict.fromkeys((noun, " ".join((*before, head)), head)))
