"""The nouns that a caption rules out as decoys.

A word counts in all its meanings, so relations are found too often rather than too rarely.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from teacher.nouns.table import NounTable


class Relations:
    """The nouns that a caption rules out. Built once per caption, for many queries."""

    def __init__(self, nouns: Iterable[str], table: NounTable) -> None:
        self._table, self._nouns = table, frozenset(nouns)
        known = [noun for noun in self._nouns if table.has(noun)]
        self._own = frozenset(synset for noun in known for synset in table.meanings[noun])
        self._broader = frozenset().union(*(_find_broader(noun, table) for noun in known))
        self._parents = frozenset().union(*(table.find_parents(noun) for noun in known))
        self._people = not table.about_people.isdisjoint(known)

    def rule_out(self, noun: str) -> bool:
        """Return whether the noun shares a lemma, synonym, hypernym, hyponym or direct hypernym with a caption's noun.

        Words about people (and clothes) rule each other out as well.
        """
        table = self._table
        if noun in self._nouns or not self._broader.isdisjoint(table.meanings.get(noun, ())):
            return True
        if not self._own.isdisjoint(_find_broader(noun, table)) or not self._parents.isdisjoint(
            table.find_parents(noun)
        ):
            return True
        return self._people and noun in table.about_people


@functools.lru_cache(maxsize=65_536)
def _find_broader(noun: str, table: NounTable) -> frozenset[int]:
    return table.find_broader(table.meanings.get(noun, ()))
