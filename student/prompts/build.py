"""Prompts: how an image is asked about, as text with spans that say which boxes each part of it means.

Three kinds: a detection prompt (head nouns and absent nouns), a phrase list with hard negatives, the caption itself.
The promise: `text[begin:end]` of every span is a noun or phrase whose boxes are all known; a phrase whose boxes are
not known is masked, never taught as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from student.data.examples import Example, ExamplePhrase, boxes_of
from student.data.streams import Stream
from student.prompts.phrase_lists import Entry, hard_phrase_list, without_noun
from student.settings.prompt_text import SEPARATOR, SIDES
from student.settings.train import HardNegatives, StreamSettings

KINDS = ("detection", "phrase_list", "caption")
_WORD = re.compile(r"\w+")


class PromptSpan(NamedTuple):
    """`text[begin:end]` speaks of `boxes`; none: it is absent. `masked`: unknown, out of the loss everywhere."""

    begin: int
    end: int
    boxes: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    masked: bool = False


@dataclass(frozen=True)
class Prompt:
    """A text and its spans in order."""

    text: str
    spans: tuple[PromptSpan, ...]
    kind: str


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens a prompt may hold, and how many a text has (without the two special tokens)."""

    limit: int
    count: Callable[[str], int]


def make_prompt(
    rng: np.random.Generator,
    stream: Stream,
    example: Example,
    hard: HardNegatives,
    budget: TokenBudget,
    unknown: str,
) -> Prompt:
    """A prompt for an example of a stream. Kind and number of negatives depend on `rng` and the settings alone."""
    mix = stream.settings.prompts
    drawn = rng.random()
    kind = KINDS[(drawn >= mix.detection) + (drawn >= mix.detection + mix.phrase_list)]
    negatives = negatives_number(rng, stream.settings)
    if kind == "detection":
        return detection_prompt(rng, stream, example, negatives, budget)
    if kind == "phrase_list":
        entries = hard_phrase_list(rng, example.phrases, stream.vocabulary.nouns, hard, unknown)
        return _joined(entries, kind, budget)
    prompt = caption_prompt(example)
    if stream.exhaustive:
        prompt = _forget_nouns(rng, prompt, example, hard, unknown)
    return prompt


def negatives_number(rng: np.random.Generator, settings: StreamSettings) -> int:
    """How many absent nouns a detection prompt asks for, if its tokens hold them."""
    if settings.negatives_full and rng.random() < settings.negatives_full:
        return settings.negatives_max
    return int(rng.integers(settings.negatives_min, settings.negatives_max + 1))


def detection_prompt(
    rng: np.random.Generator, stream: Stream, example: Example, negatives: int, budget: TokenBudget
) -> Prompt:
    """Head nouns of the image and `negatives` absent ones, shuffled: 'star. cat. ring'.

    What is there goes before what is absent where the tokens do not hold both.
    A noun of which some phrase has no kept box is left out: neither present nor absent can be said of all of it.
    """
    entries: list[Entry] = []
    for root, phrases in example.phrases_by_root.items():
        boxes, ignored, unresolved = boxes_of(phrases)
        if not unresolved:
            entries.append((root, boxes, ignored, False))
    absent = absent_roots(rng, stream, example, negatives)
    kept = _without_crowding([*entries, *((root, (), (), False) for root in absent)], budget)
    return _joined([kept[i] for i in rng.permutation(len(kept))], "detection", budget)


def _without_crowding(entries: Sequence[Entry], budget: TokenBudget) -> list[Entry]:
    """The entries without the absent ones, drawn or listed by the row, for which what is there leaves no tokens."""
    cost = {entry[0]: budget.count(entry[0] + SEPARATOR) for entry in entries}
    room = budget.limit - sum(cost[words] for words, boxes, ignored, _ in entries if boxes or ignored)
    kept = []
    for entry in entries:
        words, boxes, ignored, _ = entry
        if not boxes and not ignored:
            room -= cost[words]
            if room < 0:
                continue
        kept.append(entry)
    return kept


def fixed_prompt(example: Example, text: str) -> Prompt:
    """The same nouns in the same order for every image: what prompt tuning learns the offsets of.

    A noun of which some phrase has no kept box is masked: neither present nor absent can be said of it.
    """
    spans, begin = [], 0
    for noun in text.split(SEPARATOR):
        boxes, ignored, masked = boxes_of(example.phrases_by_root.get(noun, []))
        spans.append(PromptSpan(begin, begin + len(noun), boxes, ignored, masked))
        begin += len(noun) + len(SEPARATOR)
    return Prompt(text, tuple(spans), "detection")


def absent_roots(rng: np.random.Generator, stream: Stream, example: Example, number: int) -> list[str]:
    """Up to `number` nouns of the stream that the image is not known to hold, drawn without replacement."""
    return stream.vocabulary.draw(rng, number, may_be_there(stream, example)) if number else []


def may_be_there(stream: Stream, example: Example) -> Callable[[str], bool]:
    """Whether a noun may be in the image: the teacher or a human found it, or left it open, or the caption says it.

    A phrase with nothing but ignored regions counts as found. What the caption of exhaustive gold says does not
    count: it may list every category.
    """
    roots = {root.casefold() for root in (*example.roots, *example.maybe_there)}
    if stream.exhaustive:
        return lambda noun: noun.casefold() in roots
    caption = example.caption.casefold()
    words = set(_WORD.findall(caption))

    def present(noun: str) -> bool:
        noun = noun.casefold()
        return noun in roots or noun in words or (" " in noun and noun in caption)

    return present


def caption_prompt(example: Example) -> Prompt:
    """The caption with its phrases; those without a kept box are masked."""
    spans = tuple(
        PromptSpan(p.begin, p.end, p.boxes, p.ignored, masked=p.fate == "unresolved") for p in example.phrases
    )
    return Prompt(example.caption, spans, "caption")


def _joined(entries: Sequence[Entry], kind: str, budget: TokenBudget) -> Prompt:
    text, spans, room = "", [], budget.limit
    for words, boxes, ignored, masked in entries:
        room -= budget.count(words + SEPARATOR)
        if room < 0:
            break
        text += SEPARATOR if text else ""
        spans.append(PromptSpan(len(text), len(text) + len(words), boxes, ignored, masked))
        text += words
    return Prompt(text, tuple(spans), kind)


def _forget_nouns(
    rng: np.random.Generator, prompt: Prompt, example: Example, hard: HardNegatives, unknown: str
) -> Prompt:
    """The caption with some nouns replaced by the unknown token, where another word still says which thing is meant."""
    attributes = {word for group in hard.attributes for word in group}
    edits: list[tuple[int, int, str]] = []
    for phrase in example.phrases:
        forget = rng.random() < hard.caption_unknown_noun
        apart = all(phrase.end <= begin or end <= phrase.begin for begin, end, _ in edits)
        if forget and apart and _is_told_apart(phrase, example, attributes):
            edits.append((phrase.begin, phrase.end, without_noun(phrase, unknown)))
    return replaced(prompt, edits)


def _is_told_apart(phrase: ExamplePhrase, example: Example, attributes: set[str]) -> bool:
    own = set(phrase.text.split()) & attributes
    others = [set(other.text.split()) for other in example.phrases if other is not phrase]
    return bool(own) and not any(own <= words for words in others)


def replaced(prompt: Prompt, edits: Sequence[tuple[int, int, str]]) -> Prompt:
    """The prompt with non-overlapping [begin, end) pieces replaced; spans follow their text."""
    if not edits:
        return prompt
    edits = sorted(edits)
    pieces, last = [], 0
    for begin, end, words in edits:
        pieces += [prompt.text[last:begin], words]
        last = end
    text = "".join([*pieces, prompt.text[last:]])
    spans = tuple(
        span._replace(begin=_moved(span.begin, edits, to_end=False), end=_moved(span.end, edits, to_end=True))
        for span in prompt.spans
    )
    return Prompt(text, spans, prompt.kind)


def _moved(offset: int, edits: Sequence[tuple[int, int, str]], to_end: bool) -> int:
    shift = 0
    for begin, end, words in edits:
        if end <= offset:
            shift += len(words) - (end - begin)
        elif begin < offset:  # inside the replaced piece: the whole new piece belongs to the span
            return begin + shift + (len(words) if to_end else 0)
    return offset + shift


def mirrored(prompt: Prompt) -> Prompt:
    """The prompt of the mirror image: 'left' becomes 'right' and the other way round, in 'lefthand' too, case kept."""
    return replaced(
        prompt, [(m.start(), m.end(), _other_side(m.group())) for m in SIDES.finditer(prompt.text)]
    )


def _other_side(word: str) -> str:
    other = "right" if word.lower() == "left" else "left"
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
