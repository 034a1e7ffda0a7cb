"""Captions of scenes, with the truth of each of their phrases.

A described phrase fits every thing that its words fit: "a circle" means each circle, "a red circle" each red one. A
phrase of an absent thing fits none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.demo.world.lexicon import (
    COLOURS,
    HEAD_NOUNS,
    JOINERS,
    LAST_JOINERS,
    LEFT_OF,
    PREFIXES,
    RIGHT_OF,
    SUFFIXES,
    TAIL_NOUNS,
    article,
)
from pipelines.demo.world.scenes import Thing
from pipelines.demo.world.settings import WorldSettings

_STATES_SIDE = 0.3


@dataclass(frozen=True)
class WorldPhrase:
    """`caption[begin:end] == text`; `things` are the indices of the scene's things that the words fit."""

    begin: int
    end: int
    text: str
    noun: str
    things: tuple[int, ...]


@dataclass(frozen=True)
class Caption:
    """A caption and its phrases in order."""

    text: str
    phrases: tuple[WorldPhrase, ...]


@dataclass(frozen=True)
class _Words:
    """One phrase before it has a place: what it says, and where its thing stands (None: nowhere)."""

    noun: str
    colour: str | None
    texture: str | None
    centre_x: float | None

    @property
    def text(self) -> str:
        words = [word for word in (self.texture, self.colour, self.noun) if word]
        return " ".join([article(words[0]), *words])

    def fits(self, thing: Thing) -> bool:
        """Whether every word is true of the thing."""
        colour = self.colour is None or self.colour == thing.colour
        texture = self.texture is None or self.texture == thing.texture
        return self.noun == thing.noun and colour and texture


def careful_caption(rng: np.random.Generator, things: tuple[Thing, ...]) -> Caption:
    """A human's caption: each thing once, with its colour and texture."""
    words = [_Words(t.noun, t.colour, t.texture, _centre_x(t)) for t in things]
    return _join(rng, [words[i] for i in rng.permutation(len(words))], things)


def web_caption(
    rng: np.random.Generator, things: tuple[Thing, ...], tail_share: float, settings: WorldSettings
) -> Caption:
    """A caption as the web has it: things left out, words left out, sometimes a thing that is not there, and noise."""
    told = [t for t in things if rng.random() >= settings.caption_drop] or [things[0]]
    words = _with_mistakes(rng, [_web_words(rng, t, settings) for t in told], things, tail_share, settings)
    if rng.random() < settings.caption_absent:
        words.append(_absent(rng, things, tail_share))
    caption = _join(rng, [words[i] for i in rng.permutation(len(words))], things)
    return _with_noise(rng, caption) if rng.random() < settings.caption_distractor else caption


def _web_words(rng: np.random.Generator, thing: Thing, settings: WorldSettings) -> _Words:
    colour = thing.colour if rng.random() < settings.caption_colour else None
    texture = thing.texture if rng.random() < settings.caption_texture else None
    return _Words(thing.noun, colour, texture, _centre_x(thing))


def _with_mistakes(
    rng: np.random.Generator,
    words: list[_Words],
    things: tuple[Thing, ...],
    tail_share: float,
    settings: WorldSettings,
) -> list[_Words]:
    """The noisy world's captions: phrases left out (never all), wrong nouns, absent things. No draw where all are 0."""
    if settings.web_caption_missing:
        words = [item for item in words if rng.random() >= settings.web_caption_missing] or words[:1]
    if settings.web_caption_wrong:
        wrong = rng.random(len(words)) < settings.web_caption_wrong
        names = [_absent(rng, things, tail_share).noun for _ in words]
        words = [replace(item, noun=noun) if bad else item for item, noun, bad in zip(words, names, wrong)]
    while settings.web_caption_extra and rng.random() < settings.web_caption_extra:
        words = [*words, _absent(rng, things, tail_share)]
    return words


def _absent(rng: np.random.Generator, things: tuple[Thing, ...], tail_share: float) -> _Words:
    nouns = TAIL_NOUNS if rng.random() < tail_share else HEAD_NOUNS
    present = {thing.noun for thing in things}
    noun = rng.choice([name for name in nouns if name not in present])
    return _Words(str(noun), str(rng.choice(list(COLOURS))), None, None)


def _centre_x(thing: Thing) -> float:
    return (thing.box_xyxy_px[0] + thing.box_xyxy_px[2]) / 2


def _join(rng: np.random.Generator, words: list[_Words], things: tuple[Thing, ...]) -> Caption:
    text, phrases = "", []
    for position, item in enumerate(words):
        if position:
            text += _joiner(rng, words[position - 1], item, last=position == len(words) - 1)
        fitting = tuple(i for i, thing in enumerate(things) if item.fits(thing))
        phrases.append(WorldPhrase(len(text), len(text) + len(item.text), item.text, item.noun, fitting))
        text += item.text
    return Caption(text, tuple(phrases))


def _joiner(rng: np.random.Generator, before: _Words, after: _Words, last: bool) -> str:
    if before.centre_x is not None and after.centre_x is not None and rng.random() < _STATES_SIDE:
        return f" {LEFT_OF if before.centre_x < after.centre_x else RIGHT_OF} "
    if not last:
        return ", "
    return f" {rng.choice(LAST_JOINERS + JOINERS)} "


def _with_noise(rng: np.random.Generator, caption: Caption) -> Caption:
    before = f"{rng.choice(PREFIXES)} " if rng.random() < 0.7 else ""
    after = f" {rng.choice(SUFFIXES)}" if rng.random() < 0.6 else ""
    moved = tuple(
        WorldPhrase(p.begin + len(before), p.end + len(before), p.text, p.noun, p.things)
        for p in caption.phrases
    )
    return Caption(before + caption.text + after, moved)
