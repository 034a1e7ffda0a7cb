"""Packs a caption's phrases into prompts: the caption itself where it fits, phrase lists or pieces of it otherwise.

Promise: a function of caption, phrases and tokenizer alone; every phrase stands whole in exactly one prompt or in
`dropped` with a reason code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from schemas.records import Phrase

SEPARATOR = ". "
TOO_LONG = "PH_TOO_LONG"

PromptMode = Literal["auto", "caption", "phrases"]


@dataclass(frozen=True)
class AskedSpan:
    """`prompt.text[begin:end]` is phrase number `phrase` of the sample."""

    phrase: int
    begin: int
    end: int


@dataclass(frozen=True)
class Prompt:
    """A text to be read by the teacher, and where the phrases stand in it."""

    text: str
    spans: tuple[AskedSpan, ...]


@dataclass(frozen=True)
class PromptPlan:
    """The prompts of one sample; `dropped` holds (phrase number, reason code)."""

    prompts: tuple[Prompt, ...]
    dropped: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Budget:
    """At most `limit` tokens in a prompt, special tokens included; `count` tells how many a text has."""

    limit: int
    count: Callable[[str], int]

    def fits(self, text: str) -> bool:
        return self.count(text) <= self.limit


def pack(caption: str, phrases: Sequence[Phrase], budget: Budget, mode: PromptMode = "auto") -> PromptPlan:
    """Prompts for the phrases of a caption, in order.

    mode: caption - the caption, cut at phrase borders where it is too long; phrases - lists of the phrases' texts;
          auto - the caption where it fits whole, lists otherwise
    Phrases without a span (decoys) are asked in lists of their own, after all others.
    """
    whole = mode != "phrases" and budget.fits(caption)
    fits = [(whole and phrase.begin is not None) or budget.fits(phrase.text) for phrase in phrases]
    spanned = [i for i, phrase in enumerate(phrases) if fits[i] and phrase.begin is not None]
    without_span = [i for i, phrase in enumerate(phrases) if fits[i] and phrase.begin is None]
    if whole:
        prompts = [_piece(caption, 0, len(caption), phrases, spanned)] if spanned else []
    elif mode == "caption":
        prompts = _pieces(caption, phrases, spanned, budget)
    else:
        prompts = _lists(phrases, spanned, budget)
    dropped = tuple((i, TOO_LONG) for i, fit in enumerate(fits) if not fit)
    return PromptPlan((*prompts, *_lists(phrases, without_span, budget)), dropped)


def pack_decoys(
    caption: str, phrases: Sequence[Phrase], budget: Budget, mode: PromptMode = "auto"
) -> PromptPlan:
    """Prompts for the decoys of a caption: the caption and the decoys after it, spans for the decoys alone.

    Where that does not fit, and with mode `phrases`, the list of the other phrases stands before them, as many as fit;
    where the decoys alone do not fit, they are asked in lists of their own.
    """
    decoys = [i for i, phrase in enumerate(phrases) if phrase.begin is None]
    others = [phrase.text for phrase in phrases if phrase.begin is not None]
    asked = [i for i in decoys if budget.fits(phrases[i].text)]
    dropped = tuple((i, TOO_LONG) for i in decoys if i not in asked)
    lists = _lists(phrases, asked, budget)
    if len(lists) != 1:
        return PromptPlan(tuple(lists), dropped)
    before = [] if mode == "phrases" else [caption]
    before += [SEPARATOR.join(others[:number]) for number in range(len(others), 0, -1)]
    fitting = (text for text in before if budget.fits(text + SEPARATOR + lists[0].text))
    return PromptPlan((_after(next(fitting, ""), lists[0]),), dropped)


def _after(text: str, prompt: Prompt) -> Prompt:
    """The prompt with a text before it."""
    if not text:
        return prompt
    shift = len(text) + len(SEPARATOR)
    spans = (replace(span, begin=span.begin + shift, end=span.end + shift) for span in prompt.spans)
    return Prompt(text + SEPARATOR + prompt.text, tuple(spans))


def _pieces(caption: str, phrases: Sequence[Phrase], numbers: Sequence[int], budget: Budget) -> list[Prompt]:
    """Stretches of the caption from a phrase's begin to a phrase's end, each as long as the budget lets it be."""
    groups: list[tuple[int, int, list[int]]] = []
    for i in sorted(numbers, key=lambda i: _span(phrases[i])):
        begin, end = _span(phrases[i])
        if groups:
            first, last, members = groups[-1]
            longer = max(last, end)
            if budget.fits(caption[first:longer]):
                groups[-1] = (first, longer, [*members, i])
                continue
        groups.append((begin, end, [i]))
    return [_piece(caption, begin, end, phrases, members) for begin, end, members in groups]


def _piece(caption: str, begin: int, end: int, phrases: Sequence[Phrase], numbers: Sequence[int]) -> Prompt:
    spans = []
    for i in numbers:
        first, last = _span(phrases[i])
        spans.append(AskedSpan(i, first - begin, last - begin))
    return Prompt(caption[begin:end], tuple(spans))


def _lists(phrases: Sequence[Phrase], numbers: Sequence[int], budget: Budget) -> list[Prompt]:
    """`a red dog. two cats`, phrases in order, a new list where the budget ends."""
    lists: list[Prompt] = []
    for i in numbers:
        text = phrases[i].text
        if lists and budget.fits(lists[-1].text + SEPARATOR + text):
            last = lists.pop()
            begin = len(last.text) + len(SEPARATOR)
            span = AskedSpan(i, begin, begin + len(text))
            lists.append(Prompt(last.text + SEPARATOR + text, (*last.spans, span)))
        else:
            lists.append(Prompt(text, (AskedSpan(i, 0, len(text)),)))
    return lists


def _span(phrase: Phrase) -> tuple[int, int]:
    assert phrase.begin is not None and phrase.end is not None, "only phrases with a span stand in captions"
    return phrase.begin, phrase.end
