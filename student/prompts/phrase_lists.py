"""Phrase lists with hard negatives, from images whose every thing is described.

'red circle. blue circle. red star. blue [UNK]': the same noun in another colour, the same colour on another noun, an
unknown noun. Only these teach a model to read each word of a phrase, and so to find a noun that it hardly knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from student.data.examples import ExamplePhrase, boxes_of
from student.settings.train import HardNegatives

_ARTICLES = {"a", "an", "the"}

Entry = tuple[str, tuple[int, ...], tuple[int, ...], bool]


@dataclass(frozen=True)
class _Words:
    """A phrase without its article: words before the noun, and the noun (None: unknown)."""

    before: tuple[str, ...]
    noun: str | None

    def text(self, unknown: str) -> str:
        return " ".join([*self.before, self.noun or unknown])

    def fits(self, thing: _Words) -> bool:
        """Whether every word is said of the thing, too."""
        return (self.noun is None or self.noun == thing.noun) and set(self.before) <= set(thing.before)

    def may_mean(self, thing: _Words, groups: Sequence[Sequence[str]]) -> bool:
        """Whether no word contradicts what is said of the thing; what is not said may be so or not."""
        if self.noun is not None and self.noun != thing.noun:
            return False
        for group in groups:
            own, other = set(self.before) & set(group), set(thing.before) & set(group)
            if own and other and own != other:
                return False
        return True


def hard_phrase_list(
    rng: np.random.Generator,
    phrases: Sequence[ExamplePhrase],
    nouns: Sequence[str],
    hard: HardNegatives,
    unknown: str,
) -> list[Entry]:
    """(words, boxes, ignored, masked), shuffled: each phrase, varied, and negatives that contradict them all."""
    things = [_words_of(phrase) for phrase in phrases]
    asked: dict[_Words, None] = {}
    for thing in things:
        asked.update(dict.fromkeys([_varied(rng, thing, hard), *_negatives(rng, thing, nouns, hard)]))
    entries = [entry for words in asked if (entry := _entry(words, phrases, things, hard, unknown))]
    return [entries[i] for i in rng.permutation(len(entries))]


def without_noun(phrase: ExamplePhrase, unknown: str) -> str:
    """The phrase's text with the unknown token for its noun; articles and attributes stay."""
    words = phrase.text.split()
    words[_noun_at(words, phrase.root)] = unknown
    return " ".join(words)


def _words_of(phrase: ExamplePhrase) -> _Words:
    words = [word for word in phrase.text.split() if word.lower() not in _ARTICLES]
    noun = _noun_at(words, phrase.root)
    return _Words(tuple(words[:noun] + words[noun + 1 :]), words[noun])


def _noun_at(words: Sequence[str], root: str) -> int:
    return words.index(root) if root in words else len(words) - 1


def _varied(rng: np.random.Generator, thing: _Words, hard: HardNegatives) -> _Words:
    """The phrase itself, or with one attribute or the noun left away."""
    before = thing.before
    if before and rng.random() < hard.drop_attribute:
        gone = int(rng.integers(len(before)))
        before = before[:gone] + before[gone + 1 :]
    forget = rng.random() < hard.unknown_noun
    return _Words(before, None if forget and before else thing.noun)


def _negatives(
    rng: np.random.Generator, thing: _Words, nouns: Sequence[str], hard: HardNegatives
) -> list[_Words]:
    negatives = []
    changed = _other_attribute(rng, thing, hard.attributes)
    if rng.random() < hard.other_attribute and changed:
        negatives.append(changed)
    if rng.random() < hard.other_noun and thing.before and nouns:
        other = _one_of(rng, nouns)
        *more, noun = other.split() or [other]
        negatives.append(_Words((*thing.before, *more), noun))
    unknown = _other_attribute(rng, thing, hard.attributes)
    if rng.random() < hard.unknown_negative and unknown:
        negatives.append(_Words(unknown.before, None))
    return negatives


def _one_of(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _other_attribute(
    rng: np.random.Generator, thing: _Words, groups: Sequence[Sequence[str]]
) -> _Words | None:
    """The phrase with one attribute changed for another of its group, or None without one."""
    places = [(i, group) for i, word in enumerate(thing.before) for group in groups if word in group]
    if not places:
        return None
    place, group = places[int(rng.integers(len(places)))]
    other = _one_of(rng, [word for word in group if word != thing.before[place]])
    return _Words((*thing.before[:place], other, *thing.before[place + 1 :]), thing.noun)


def _entry(
    words: _Words,
    phrases: Sequence[ExamplePhrase],
    things: Sequence[_Words],
    hard: HardNegatives,
    unknown: str,
) -> Entry | None:
    """None for words that may or may not be true of the image: they can be taught neither way."""
    fitting = [phrase for phrase, thing in zip(phrases, things, strict=True) if words.fits(thing)]
    unsure = any(words.may_mean(thing, hard.attributes) and not words.fits(thing) for thing in things)
    if unsure and not fitting:
        return None
    boxes, ignored, unresolved = boxes_of(fitting)
    return words.text(unknown), boxes, ignored, unsure or unresolved
