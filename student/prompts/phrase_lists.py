"""Phrase lists with hard negatives, from images of which every object is described.

'red circle. blue circle. red star. blue [UNK]': the same noun in another color, the same color on another noun, an
unknown noun. Such negatives teach a model to read each word of a phrase, so that it also finds a noun it hardly knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from student.data.examples import ExamplePhrase, merge_boxes
from student.settings.train import HardNegatives

_ARTICLES = {"a", "an", "the"}


class PromptEntry(NamedTuple):
    """Words of a prompt with the indices of their boxes; without boxes they are absent."""

    words: str
    boxes: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    masked: bool = False


@dataclass(frozen=True)
class _PhraseWords:
    """A phrase without its article: words before the noun, and the noun (None: unknown)."""

    before: tuple[str, ...]
    noun: str | None

    def text(self, unknown: str) -> str:
        """Return the words as text, with `unknown` for an unknown noun."""
        return " ".join([*self.before, self.noun or unknown])

    def fits(self, thing: _PhraseWords) -> bool:
        """Return whether the description of the thing has every word."""
        return (self.noun is None or self.noun == thing.noun) and set(self.before) <= set(thing.before)

    def may_mean(self, thing: _PhraseWords, groups: Sequence[Sequence[str]]) -> bool:
        """Return whether no word contradicts the description of the thing. The description may be incomplete."""
        if self.noun is not None and self.noun != thing.noun:
            return False
        for group in groups:
            own, other = set(self.before) & set(group), set(thing.before) & set(group)
            if own and other and own != other:
                return False
        return True


def make_hard_phrase_list(
    rng: np.random.Generator,
    phrases: Sequence[ExamplePhrase],
    nouns: Sequence[str],
    hard: HardNegatives,
    unknown: str,
    is_related: Callable[[str], bool] = lambda noun: False,
) -> list[PromptEntry]:
    """Return the phrases, varied, and negatives that contradict all of them, in random order.

    nouns:      nouns that negatives are drawn from
    unknown:    the tokenizer's unknown token
    is_related: whether a noun may be true of a box of the image; equal nouns are compared attribute by attribute
    """
    things = [_split_phrase(phrase) for phrase in phrases]
    own = {thing.noun for thing in things}

    def may_contradict(noun: str) -> bool:
        return noun in own or not is_related(noun)

    candidates: dict[_PhraseWords, None] = {}
    for thing in things:
        own_words = _vary(rng, thing, hard)
        negatives = _draw_negatives(rng, thing, nouns, hard, may_contradict)
        candidates.update(dict.fromkeys([own_words, *negatives]))
    entries = [entry for words in candidates if (entry := _make_entry(words, phrases, things, hard, unknown))]
    return [entries[i] for i in rng.permutation(len(entries))]


def replace_noun(phrase: ExamplePhrase, unknown: str) -> str:
    """Return the phrase's text with the unknown token in place of its noun. Articles and attributes stay."""
    words = phrase.text.split()
    words[_find_noun(words, phrase.root)] = unknown
    return " ".join(words)


def _split_phrase(phrase: ExamplePhrase) -> _PhraseWords:
    words = [word for word in phrase.text.split() if word.lower() not in _ARTICLES]
    noun = _find_noun(words, phrase.root)
    return _PhraseWords(tuple(words[:noun] + words[noun + 1 :]), words[noun])


def _find_noun(words: Sequence[str], root: str) -> int:
    return words.index(root) if root in words else len(words) - 1


def _vary(rng: np.random.Generator, thing: _PhraseWords, hard: HardNegatives) -> _PhraseWords:
    """Return the phrase itself, or without one attribute, or without its noun."""
    before = thing.before
    if before and rng.random() < hard.drop_attribute:
        dropped = int(rng.integers(len(before)))
        before = before[:dropped] + before[dropped + 1 :]
    hide_noun = rng.random() < hard.unknown_noun
    return _PhraseWords(before, None if hide_noun and before else thing.noun)


def _draw_negatives(
    rng: np.random.Generator,
    thing: _PhraseWords,
    nouns: Sequence[str],
    hard: HardNegatives,
    may_contradict: Callable[[str], bool],
) -> list[_PhraseWords]:
    negatives = []
    other_attribute = _change_attribute(rng, thing, hard.attributes)
    if rng.random() < hard.other_attribute and other_attribute:
        negatives.append(other_attribute)
    if rng.random() < hard.other_noun and thing.before and nouns:
        other = _choose(rng, nouns)
        *more, noun = other.split() or [other]
        if may_contradict(other):
            negatives.append(_PhraseWords((*thing.before, *more), noun))
    unknown = _change_attribute(rng, thing, hard.attributes)
    if rng.random() < hard.unknown_negative and unknown:
        negatives.append(_PhraseWords(unknown.before, None))
    return negatives


def _choose(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _change_attribute(
    rng: np.random.Generator, thing: _PhraseWords, groups: Sequence[Sequence[str]]
) -> _PhraseWords | None:
    """Return the phrase with one attribute replaced by another of its group; None for a phrase without one."""
    places = [(i, group) for i, word in enumerate(thing.before) for group in groups if word in group]
    if not places:
        return None
    place, group = places[int(rng.integers(len(places)))]
    other = _choose(rng, [word for word in group if word != thing.before[place]])
    return _PhraseWords((*thing.before[:place], other, *thing.before[place + 1 :]), thing.noun)


def _make_entry(
    words: _PhraseWords,
    phrases: Sequence[ExamplePhrase],
    things: Sequence[_PhraseWords],
    hard: HardNegatives,
    unknown: str,
) -> PromptEntry | None:
    """Return the entry of some words; None if it is unknown whether they are true of the image."""
    fitting = [phrase for phrase, thing in zip(phrases, things, strict=True) if words.fits(thing)]
    is_unsure = any(words.may_mean(thing, hard.attributes) and not words.fits(thing) for thing in things)
    if is_unsure and not fitting:
        return None
    boxes, ignored, is_unresolved = merge_boxes(fitting)
    return PromptEntry(words.text(unknown), boxes, ignored, is_unsure or is_unresolved)
