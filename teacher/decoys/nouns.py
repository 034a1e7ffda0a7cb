"""The bundled table of nouns: which may be decoys, and which mean the same or broader or narrower things.

Promise: a function of the bundled file alone; a word is taken in all its meanings, so that relations are found rather
too often than too rarely.
"""

from __future__ import annotations

import functools
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from schemas.digests import sha256_hex

FILE = "nouns.tsv.xz"
# Where there is a person, another word for people may be true of them too, and they wear something.
PEOPLE = ("person", "people", "social_group", "clothing", "footwear", "headdress")


@dataclass(frozen=True, eq=False)
class NounTable:
    """Synsets by number, broader ones first. `above` has each synset's direct hypernyms."""

    above: tuple[tuple[int, ...], ...]
    meanings: dict[str, tuple[int, ...]]
    """Synsets of each word; words in lower case, two parts joined by a blank."""
    may_be_asked: frozenset[str]
    about_people: frozenset[str]
    """Words whose most frequent meaning is people, or what people wear."""

    def knows(self, noun: str) -> bool:
        """Whether the table has the noun."""
        return noun in self.meanings

    def broader(self, noun: str) -> frozenset[int]:
        """The noun's synsets and all that are above them; none for a noun that is not known."""
        found: set[int] = set()
        waiting = list(self.meanings.get(noun, ()))
        while waiting:
            synset = waiting.pop()
            if synset not in found:
                found.add(synset)
                waiting += self.above[synset]
        return frozenset(found)

    def parents(self, noun: str) -> frozenset[int]:
        """The direct hypernyms of the noun's synsets."""
        return frozenset(above for synset in self.meanings.get(noun, ()) for above in self.above[synset])


class Relations:
    """What a caption's nouns rule out. One for each caption: built once, asked about many nouns."""

    def __init__(self, nouns: Iterable[str], table: NounTable) -> None:
        self._table, self._nouns = table, frozenset(nouns)
        known = [noun for noun in self._nouns if table.knows(noun)]
        self._own = frozenset(synset for noun in known for synset in table.meanings[noun])
        self._broader = frozenset().union(*(_broader(noun, table) for noun in known))
        self._parents = frozenset().union(*(table.parents(noun) for noun in known))
        self._people = not table.about_people.isdisjoint(known)

    def rule_out(self, noun: str) -> bool:
        """Whether the noun shares a lemma, synonym, hypernym, hyponym or direct hypernym with one of the caption's.

        Words about people (and clothes) rule each other out as well.
        """
        table = self._table
        if noun in self._nouns or not self._broader.isdisjoint(table.meanings.get(noun, ())):
            return True
        if not self._own.isdisjoint(_broader(noun, table)) or not self._parents.isdisjoint(
            table.parents(noun)
        ):
            return True
        return self._people and noun in table.about_people


@functools.lru_cache(maxsize=65_536)
def _broader(noun: str, table: NounTable) -> frozenset[int]:
    return table.broader(noun)


@functools.cache
def bundled() -> NounTable:
    """The table of the package, read once per process."""
    above: list[tuple[int, ...]] = []
    meanings: dict[str, list[int]] = {}
    first: dict[str, int] = {}
    things: set[int] = set()
    named: dict[str, int] = {}  # synsets by their first word
    for number, line in enumerate(lzma.decompress(_bytes()).decode("ascii").splitlines()):
        back, thing, words = line.split("\t")
        above.append(tuple(number - int(steps) for steps in back.split()))
        things.update([number] if thing else [])
        for marked in words.split():
            word = marked.removeprefix("!")
            named.setdefault(word, number)
            meanings.setdefault(word.replace("_", " "), []).append(number)
            if word != marked:
                first[word.replace("_", " ")] = number
    people = _below({named[word] for word in PEOPLE}, above)
    return NounTable(
        above=tuple(above),
        meanings={word: tuple(synsets) for word, synsets in meanings.items()},
        may_be_asked=frozenset(word for word, synset in first.items() if synset in things),
        about_people=frozenset(word for word, synset in first.items() if synset in people),
    )


def _below(tops: set[int], above: list[tuple[int, ...]]) -> set[int]:
    """The tops and every synset under them; broader ones stand first."""
    found = set(tops)
    for synset, broader in enumerate(above):
        if not found.isdisjoint(broader):
            found.add(synset)
    return found


@functools.cache
def digest() -> str:
    """sha256 of the bundled file, hexadecimal."""
    return sha256_hex(_bytes())


def _bytes() -> bytes:
    return (resources.files("teacher.decoys") / "data" / FILE).read_bytes()
