"""The bundled table of nouns: which name things and people, and which meanings are broader than which.

The table depends on the bundled file alone.
"""

from __future__ import annotations

import functools
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from schemas.digests import sha256_hex

FILE = "nouns.tsv.xz"
# If there is a person, another word for people may apply as well, and people wear something.
PERSON, GROUPS = "person", ("people", "social_group")
PEOPLE = (PERSON, *GROUPS, "clothing", "footwear", "headdress")


@dataclass(frozen=True, eq=False)
class NounTable:
    """Synsets by number, broader ones first. `above` lists each synset's direct hypernyms."""

    above: tuple[tuple[int, ...], ...]
    meanings: dict[str, tuple[int, ...]]
    """Synsets of each word. Words are lower-case, two parts are joined by a blank."""
    heads: dict[int, frozenset[str]]
    """Last words of a synset's names of two parts: `wild dog` is a dog. Other synsets are missing."""
    first_sense: dict[str, int]
    """The most frequent meaning of each word. Words whose most frequent meaning is no thing are missing."""
    things: frozenset[int]
    """Synsets that a box can be drawn around: animals, artifacts, food, people, plants."""
    persons: frozenset[int]
    groups: frozenset[int]
    """Synsets of several people."""
    may_be_asked: frozenset[str]
    about_people: frozenset[str]
    """Words whose most frequent meaning is people, or what people wear."""

    def has(self, noun: str) -> bool:
        """Return whether the table has the noun."""
        return noun in self.meanings

    def find_broader(self, senses: Iterable[int]) -> frozenset[int]:
        """Return the synsets and all above them."""
        found: set[int] = set()
        waiting = list(senses)
        while waiting:
            synset = waiting.pop()
            if synset not in found:
                found.add(synset)
                waiting += self.above[synset]
        return frozenset(found)

    def find_parents(self, noun: str) -> frozenset[int]:
        """Return the direct hypernyms of the noun's synsets."""
        return frozenset(above for synset in self.meanings.get(noun, ()) for above in self.above[synset])


@functools.cache
def load_nouns() -> NounTable:
    """Return the table of the package. It is read once per process."""
    above: list[tuple[int, ...]] = []
    meanings: dict[str, list[int]] = {}
    first: dict[str, int] = {}
    things: set[int] = set()
    by_word: dict[str, int] = {}  # first synset of each word
    for number, line in enumerate(lzma.decompress(_read_file()).decode("ascii").splitlines()):
        back, thing, words = line.split("\t")
        above.append(tuple(number - int(steps) for steps in back.split()))
        things.update([number] if thing else [])
        for marked in words.split():
            word = marked.removeprefix("!")
            by_word.setdefault(word, number)
            meanings.setdefault(word.replace("_", " "), []).append(number)
            if word != marked:
                first[word.replace("_", " ")] = number
    people = _find_below({by_word[word] for word in PEOPLE}, above)
    return NounTable(
        above=tuple(above),
        heads=_collect_heads(meanings),
        first_sense=first,
        things=frozenset(things),
        persons=frozenset(_find_below({by_word[PERSON]}, above)),
        groups=frozenset(_find_below({by_word[word] for word in GROUPS}, above)),
        meanings={word: tuple(synsets) for word, synsets in meanings.items()},
        may_be_asked=frozenset(word for word, synset in first.items() if synset in things),
        about_people=frozenset(word for word, synset in first.items() if synset in people),
    )


def _collect_heads(meanings: dict[str, list[int]]) -> dict[int, frozenset[str]]:
    heads: dict[int, set[str]] = {}
    for word, synsets in meanings.items():
        if " " in word:
            for synset in synsets:
                heads.setdefault(synset, set()).add(word.split(" ")[-1])
    return {synset: frozenset(words) for synset, words in heads.items()}


def _find_below(tops: set[int], above: list[tuple[int, ...]]) -> set[int]:
    """Return the tops and every synset below them. `above` lists broader synsets first."""
    found = set(tops)
    for synset, broader in enumerate(above):
        if not found.isdisjoint(broader):
            found.add(synset)
    return found


@functools.cache
def nouns_digest() -> str:
    """Return the sha256 of the bundled file, hexadecimal."""
    return sha256_hex(_read_file())


def _read_file() -> bytes:
    return (resources.files(__package__) / "data" / FILE).read_bytes()
