"""Compose captions of scenes, with the things to which each of their phrases applies.

A phrase applies to every thing that its words describe: "a circle" to each circle, "a red circle" to each red one. The
phrase of an absent thing applies to none.
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
    choose_article,
)
from pipelines.demo.world.scenes import Thing
from pipelines.demo.world.settings import WorldSettings

_STATES_SIDE = 0.3


@dataclass(frozen=True)
class WorldPhrase:
    """A phrase: `caption[begin:end] == text`. `things` are indices of the scene's things to which it applies."""

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
class _PhraseDraft:
    """A phrase before it has a span: its words, and the x position of its thing in px (None: absent)."""

    noun: str
    colour: str | None
    texture: str | None
    center_x: float | None

    @property
    def text(self) -> str:
        words = [word for word in (self.texture, self.colour, self.noun) if word]
        return " ".join([choose_article(words[0]), *words])

    def applies_to(self, thing: Thing) -> bool:
        """Return whether every word is true of the thing."""
        colour = self.colour is None or self.colour == thing.colour
        texture = self.texture is None or self.texture == thing.texture
        return self.noun == thing.noun and colour and texture


def compose_gold_caption(rng: np.random.Generator, things: tuple[Thing, ...]) -> Caption:
    """Compose a careful caption: each thing once, with its color and texture."""
    words = [_PhraseDraft(t.noun, t.colour, t.texture, _center_x(t)) for t in things]
    return _join(rng, [words[i] for i in rng.permutation(len(words))], things)


def compose_web_caption(
    rng: np.random.Generator, things: tuple[Thing, ...], tail_share: float, settings: WorldSettings
) -> Caption:
    """Compose a caption as on the web: with things and words left out, sometimes an absent thing, and noise."""
    named = [t for t in things if rng.random() >= settings.caption_drop] or [things[0]]
    words = _add_mistakes(rng, [_draft_phrase(rng, t, settings) for t in named], things, tail_share, settings)
    if rng.random() < settings.caption_absent:
        words.append(_draft_absent(rng, things, tail_share))
    caption = _join(rng, [words[i] for i in rng.permutation(len(words))], things)
    return _add_noise(rng, caption) if rng.random() < settings.caption_distractor else caption


def _draft_phrase(rng: np.random.Generator, thing: Thing, settings: WorldSettings) -> _PhraseDraft:
    colour = thing.colour if rng.random() < settings.caption_colour else None
    texture = thing.texture if rng.random() < settings.caption_texture else None
    return _PhraseDraft(thing.noun, colour, texture, _center_x(thing))


def _add_mistakes(
    rng: np.random.Generator,
    words: list[_PhraseDraft],
    things: tuple[Thing, ...],
    tail_share: float,
    settings: WorldSettings,
) -> list[_PhraseDraft]:
    """Leave out phrases (never all), change nouns, add absent things. Nothing is drawn if all shares are 0."""
    if settings.web_caption_missing:
        words = [item for item in words if rng.random() >= settings.web_caption_missing] or words[:1]
    if settings.web_caption_wrong:
        wrong = rng.random(len(words)) < settings.web_caption_wrong
        names = [_draft_absent(rng, things, tail_share).noun for _ in words]
        words = [replace(item, noun=noun) if bad else item for item, noun, bad in zip(words, names, wrong)]
    while settings.web_caption_extra and rng.random() < settings.web_caption_extra:
        words = [*words, _draft_absent(rng, things, tail_share)]
    return words


def _draft_absent(rng: np.random.Generator, things: tuple[Thing, ...], tail_share: float) -> _PhraseDraft:
    nouns = TAIL_NOUNS if rng.random() < tail_share else HEAD_NOUNS
    present = {thing.noun for thing in things}
    noun = rng.choice([name for name in nouns if name not in present])
    return _PhraseDraft(str(noun), str(rng.choice(list(COLOURS))), None, None)


def _center_x(thing: Thing) -> float:
    return (thing.box_xyxy_px[0] + thing.box_xyxy_px[2]) / 2


def _join(rng: np.random.Generator, words: list[_PhraseDraft], things: tuple[Thing, ...]) -> Caption:
    text, phrases = "", []
    for position, item in enumerate(words):
        if position:
            text += _draw_joiner(rng, words[position - 1], item, last=position == len(words) - 1)
        applies_to = tuple(i for i, thing in enumerate(things) if item.applies_to(thing))
        phrases.append(WorldPhrase(len(text), len(text) + len(item.text), item.text, item.noun, applies_to))
        text += item.text
    return Caption(text, tuple(phrases))


def _draw_joiner(rng: np.random.Generator, before: _PhraseDraft, after: _PhraseDraft, last: bool) -> str:
    if before.center_x is not None and after.center_x is not None and rng.random() < _STATES_SIDE:
        return f" {LEFT_OF if before.center_x < after.center_x else RIGHT_OF} "
    if not last:
        return ", "
    return f" {rng.choice(LAST_JOINERS + JOINERS)} "


def _add_noise(rng: np.random.Generator, caption: Caption) -> Caption:
    before = f"{rng.choice(PREFIXES)} " if rng.random() < 0.7 else ""
    after = f" {rng.choice(SUFFIXES)}" if rng.random() < 0.6 else ""
    moved = tuple(
        WorldPhrase(p.begin + len(before), p.end + len(before), p.text, p.noun, p.things)
        for p in caption.phrases
    )
    return Caption(before + caption.text + after, moved)
