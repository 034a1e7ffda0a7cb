"""Pack a caption's phrases into prompts: the caption if it fits, otherwise lists of phrases or parts of the caption.

The result depends on caption, phrases and tokenizer alone. Every phrase is whole in exactly one prompt, or in `dropped`
with a reason code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from schemas.records import Phrase
from schemas.spans import PROMPT_SEPARATOR

TOO_LONG = "PH_TOO_LONG"

PromptMode = Literal["auto", "caption", "phrases"]


@dataclass(frozen=True)
class PhraseSpan:
    """`prompt.text[begin:end]` is phrase number `phrase` of the sample."""

    phrase: int
    begin: int
    end: int


@dataclass(frozen=True)
class PackedPrompt:
    """A text for the teacher, and the positions of the phrases in it."""

    text: str
    spans: tuple[PhraseSpan, ...]


@dataclass(frozen=True)
class PromptPlan:
    """The prompts of one sample. `dropped` has (phrase number, reason code)."""

    prompts: tuple[PackedPrompt, ...]
    dropped: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Budget:
    """At most `limit` tokens per prompt, special tokens included. `count` returns how many tokens a text has."""

    limit: int
    count: Callable[[str], int]

    def fits(self, text: str) -> bool:
        """Return whether a text is within the budget."""
        return self.count(text) <= self.limit


def pack(caption: str, phrases: Sequence[Phrase], budget: Budget, mode: PromptMode = "auto") -> PromptPlan:
    """Return prompts for the phrases of a caption, in order.

    mode: caption - the caption, cut at phrase borders if it is too long; phrases - lists of the phrases' texts;
          auto - the caption if it fits whole, lists otherwise
    Phrases without a span (decoys) are put into lists of their own, after all others.
    """
    whole = mode != "phrases" and budget.fits(caption)
    fits = [(whole and phrase.begin is not None) or budget.fits(phrase.text) for phrase in phrases]
    with_span = [i for i, phrase in enumerate(phrases) if fits[i] and phrase.begin is not None]
    without_span = [i for i, phrase in enumerate(phrases) if fits[i] and phrase.begin is None]
    if whole:
        prompts = [_cut_prompt(caption, (0, len(caption)), phrases, with_span)] if with_span else []
    elif mode == "caption":
        prompts = _cut_caption(caption, phrases, with_span, budget)
    else:
        prompts = _list_phrases(phrases, with_span, budget)
    dropped = tuple((i, TOO_LONG) for i, fit in enumerate(fits) if not fit)
    return PromptPlan((*prompts, *_list_phrases(phrases, without_span, budget)), dropped)


def pack_decoys(
    caption: str, phrases: Sequence[Phrase], budget: Budget, mode: PromptMode = "auto"
) -> PromptPlan:
    """Return prompts for the decoys of a caption: the caption, then the decoys, with spans for the decoys alone.

    If that does not fit, and in mode `phrases`, as many of the other phrases as fit are put before the decoys instead.
    If the decoys alone do not fit, they are put into lists of their own.
    """
    decoys = [i for i, phrase in enumerate(phrases) if phrase.begin is None]
    others = [phrase.text for phrase in phrases if phrase.begin is not None]
    fitting = [i for i in decoys if budget.fits(phrases[i].text)]
    dropped = tuple((i, TOO_LONG) for i in decoys if i not in fitting)
    lists = _list_phrases(phrases, fitting, budget)
    if len(lists) != 1:
        return PromptPlan(tuple(lists), dropped)
    contexts = [] if mode == "phrases" else [caption]
    contexts += [PROMPT_SEPARATOR.join(others[:number]) for number in range(len(others), 0, -1)]
    usable = (text for text in contexts if budget.fits(text + PROMPT_SEPARATOR + lists[0].text))
    return PromptPlan((_prepend(next(usable, ""), lists[0]),), dropped)


def _prepend(text: str, prompt: PackedPrompt) -> PackedPrompt:
    """Return the prompt with a text before it."""
    if not text:
        return prompt
    shift = len(text) + len(PROMPT_SEPARATOR)
    spans = (replace(span, begin=span.begin + shift, end=span.end + shift) for span in prompt.spans)
    return PackedPrompt(text + PROMPT_SEPARATOR + prompt.text, tuple(spans))


def _cut_caption(
    caption: str, phrases: Sequence[Phrase], numbers: Sequence[int], budget: Budget
) -> list[PackedPrompt]:
    """Cut the caption into parts from a phrase's begin to a phrase's end, each as long as the budget allows."""
    groups: list[tuple[int, int, list[int]]] = []
    for i in sorted(numbers, key=lambda i: _get_span(phrases[i])):
        begin, end = _get_span(phrases[i])
        if groups:
            first, last, members = groups[-1]
            longer = max(last, end)
            if budget.fits(caption[first:longer]):
                groups[-1] = (first, longer, [*members, i])
                continue
        groups.append((begin, end, [i]))
    return [_cut_prompt(caption, (begin, end), phrases, members) for begin, end, members in groups]


def _cut_prompt(
    caption: str, part: tuple[int, int], phrases: Sequence[Phrase], numbers: Sequence[int]
) -> PackedPrompt:
    spans = []
    for i in numbers:
        begin, end = _get_span(phrases[i])
        spans.append(PhraseSpan(i, begin - part[0], end - part[0]))
    return PackedPrompt(caption[part[0] : part[1]], tuple(spans))


def _list_phrases(phrases: Sequence[Phrase], numbers: Sequence[int], budget: Budget) -> list[PackedPrompt]:
    """Join phrases in order, `a red dog. two cats`. A new list begins where the budget ends."""
    lists: list[PackedPrompt] = []
    for i in numbers:
        text = phrases[i].text
        if lists and budget.fits(lists[-1].text + PROMPT_SEPARATOR + text):
            last = lists.pop()
            begin = len(last.text) + len(PROMPT_SEPARATOR)
            span = PhraseSpan(i, begin, begin + len(text))
            lists.append(PackedPrompt(last.text + PROMPT_SEPARATOR + text, (*last.spans, span)))
        else:
            lists.append(PackedPrompt(text, (PhraseSpan(i, 0, len(text)),)))
    return lists


def _get_span(phrase: Phrase) -> tuple[int, int]:
    # may become the detail of a rejected sample, which is stored, so the text must not change
    assert phrase.begin is not None and phrase.end is not None, "only phrases with a span stand in captions"
    return phrase.begin, phrase.end
