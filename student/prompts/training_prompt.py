"""Build the prompt of a training image: text with spans that say which boxes each part of it means.

Three kinds: a detection prompt (head nouns and absent nouns), a phrase list with hard negatives, the caption itself.
Promise: `text[begin:end]` of every span is a noun or phrase whose boxes are all known. A phrase whose boxes are not
known is masked, never taught as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from schemas.spans import PROMPT_SEPARATOR
from student.data.examples import ExamplePhrase, TrainingExample, merge_boxes
from student.data.streams import Stream
from student.prompts.phrase_lists import PromptEntry, make_hard_phrase_list, replace_noun
from student.settings.prompt_text import SIDES
from student.settings.streams import StreamSettings
from student.settings.train import HardNegatives
from teacher.nouns.concepts import PresentNouns
from teacher.nouns.names import find_likely_nouns

KINDS = ("detection", "phrase_list", "caption")
_WORD = re.compile(r"\w+")


class PromptSpan(NamedTuple):
    """`text[begin:end]` means `boxes`; without boxes it is absent. `masked`: unknown, so out of the loss everywhere."""

    begin: int
    end: int
    boxes: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    masked: bool = False


@dataclass(frozen=True)
class TrainingPrompt:
    """A text and its spans in order."""

    text: str
    spans: tuple[PromptSpan, ...]
    kind: str


@dataclass(frozen=True)
class TokenBudget:
    """The token limit of a prompt, and a function that counts the tokens of a text (without the two special tokens)."""

    limit: int
    count: Callable[[str], int]


def make_prompt(
    rng: np.random.Generator,
    stream: Stream,
    example: TrainingExample,
    hard: HardNegatives,
    budget: TokenBudget,
    unknown: str,
) -> TrainingPrompt:
    """Return a prompt for an example of a stream.

    The kind and the number of negatives depend on `rng` and the settings alone.

    unknown: the tokenizer's unknown token
    """
    mix = stream.settings.prompts
    drawn = rng.random()
    kind = KINDS[(drawn >= mix.detection) + (drawn >= mix.detection + mix.phrase_list)]
    negatives = draw_negative_count(rng, stream.settings)
    if kind == "detection":
        return make_detection_prompt(rng, stream, example, negatives, budget)
    if kind == "phrase_list":
        nouns, is_related = stream.vocabulary.nouns, make_relation_test(stream, example)
        entries = make_hard_phrase_list(rng, example.phrases, nouns, hard, unknown, is_related)
        return _join_entries(entries, kind, budget)
    prompt = make_caption_prompt(example)
    if stream.exhaustive:
        prompt = _hide_nouns(rng, prompt, example, hard, unknown)
    return prompt


def draw_negative_count(rng: np.random.Generator, settings: StreamSettings) -> int:
    """Return how many absent nouns a detection prompt should have, if they fit into its tokens."""
    if settings.negatives_full and rng.random() < settings.negatives_full:
        return settings.negatives_max
    return int(rng.integers(settings.negatives_min, settings.negatives_max + 1))


def make_detection_prompt(
    rng: np.random.Generator, stream: Stream, example: TrainingExample, negatives: int, budget: TokenBudget
) -> TrainingPrompt:
    """Return head nouns of the image and `negatives` absent ones, shuffled: 'star. cat. ring'.

    Present nouns take precedence over absent ones where the tokens are not enough for both. A noun is left out if the
    boxes of one of its phrases are unknown: it can be taught neither as present nor as absent.
    """
    entries: list[PromptEntry] = []
    for root, phrases in example.phrases_by_root.items():
        boxes, ignored, is_unresolved = merge_boxes(phrases)
        if not is_unresolved:
            entries.append(PromptEntry(root, boxes, ignored))
    absent = draw_absent_nouns(rng, stream, example, negatives)
    fitting = _drop_crowding_entries([*entries, *map(PromptEntry, absent)], budget)
    return _join_entries([fitting[i] for i in rng.permutation(len(fitting))], "detection", budget)


def _drop_crowding_entries(entries: Sequence[PromptEntry], budget: TokenBudget) -> list[PromptEntry]:
    """Return the entries without those absent ones, drawn or listed by the row, that exceed the remaining tokens."""
    cost = {entry.words: budget.count(entry.words + PROMPT_SEPARATOR) for entry in entries}
    room = budget.limit - sum(cost[entry.words] for entry in entries if entry.boxes or entry.ignored)
    fitting = []
    for entry in entries:
        if not entry.boxes and not entry.ignored:
            room -= cost[entry.words]
            if room < 0:
                continue
        fitting.append(entry)
    return fitting


def make_fixed_prompt(example: TrainingExample, text: str) -> TrainingPrompt:
    """Return the same nouns in the same order for every image, as prompt tuning needs.

    A noun is masked if the boxes of one of its phrases are unknown, or if the teacher found it as a decoy.
    """
    spans, begin = [], 0
    left_open = {noun.casefold() for noun in example.maybe_there}
    for noun in text.split(PROMPT_SEPARATOR):
        boxes, ignored, is_unresolved = merge_boxes(example.phrases_by_root.get(noun, []))
        is_masked = is_unresolved or (not boxes and noun.casefold() in left_open)
        spans.append(PromptSpan(begin, begin + len(noun), boxes, ignored, is_masked))
        begin += len(noun) + len(PROMPT_SEPARATOR)
    return TrainingPrompt(text, tuple(spans), "detection")


def draw_absent_nouns(
    rng: np.random.Generator, stream: Stream, example: TrainingExample, number: int
) -> list[str]:
    """Return up to `number` nouns of the stream that are not known to be in the image, without replacement."""
    return stream.vocabulary.draw(rng, number, make_presence_test(stream, example)) if number else []


def make_presence_test(stream: Stream, example: TrainingExample) -> Callable[[str], bool]:
    """Return a predicate: whether a noun may be in the image.

    A noun may be there if the teacher or a human found it or left it open, or if the caption contains it. A phrase with
    nothing but ignored regions counts as found. The caption of exhaustive gold does not count: it may list every
    category. With `negatives: concepts` a related noun may be there, too.
    """
    has_word, is_related = _make_word_test(stream, example), make_relation_test(stream, example)
    return lambda noun: has_word(noun) or is_related(noun)


def make_relation_test(stream: Stream, example: TrainingExample) -> Callable[[str], bool]:
    """Return a predicate: whether a noun may be true of a box of the image. False for all without relations.

    Phrases that are absent from the image have no box. In a view, each noun of the caption may have one.
    """
    if stream.relations is None:
        return lambda noun: False
    nouns = {*example.maybe_there, *(phrase.root for phrase in example.phrases if phrase.fate != "absent")}
    if not stream.exhaustive:
        nouns |= find_likely_nouns(example.caption)
    return PresentNouns(nouns, stream.relations).may_mean


def _make_word_test(stream: Stream, example: TrainingExample) -> Callable[[str], bool]:
    roots = {root.casefold() for root in (*example.roots, *example.maybe_there)}
    if stream.exhaustive:
        return lambda noun: noun.casefold() in roots
    caption = example.caption.casefold()
    words = set(_WORD.findall(caption))

    def may_be_present(noun: str) -> bool:
        noun = noun.casefold()
        return noun in roots or noun in words or (" " in noun and noun in caption)

    return may_be_present


def make_caption_prompt(example: TrainingExample) -> TrainingPrompt:
    """Return the caption with its phrases. Phrases with unknown boxes are masked."""
    spans = tuple(
        PromptSpan(p.begin, p.end, p.boxes, p.ignored, masked=p.fate == "unresolved") for p in example.phrases
    )
    return TrainingPrompt(example.caption, spans, "caption")


def _join_entries(entries: Sequence[PromptEntry], kind: str, budget: TokenBudget) -> TrainingPrompt:
    """Return the entries as one text, up to the first entry that exceeds the token limit."""
    text, room = "", budget.limit
    spans: list[PromptSpan] = []
    for words, boxes, ignored, masked in entries:
        room -= budget.count(words + PROMPT_SEPARATOR)
        if room < 0:
            break
        text += PROMPT_SEPARATOR if text else ""
        spans.append(PromptSpan(len(text), len(text) + len(words), boxes, ignored, masked))
        text += words
    return TrainingPrompt(text, tuple(spans), kind)


def _hide_nouns(
    rng: np.random.Generator,
    prompt: TrainingPrompt,
    example: TrainingExample,
    hard: HardNegatives,
    unknown: str,
) -> TrainingPrompt:
    """Replace some nouns of the caption by the unknown token, where an attribute still identifies the phrase."""
    attributes = {word for group in hard.attributes for word in group}
    edits: list[tuple[int, int, str]] = []
    for phrase in example.phrases:
        is_drawn = rng.random() < hard.caption_unknown_noun
        is_apart = all(phrase.end <= begin or end <= phrase.begin for begin, end, _ in edits)
        if is_drawn and is_apart and _has_unique_attributes(phrase, example, attributes):
            edits.append((phrase.begin, phrase.end, replace_noun(phrase, unknown)))
    return replace_text(prompt, edits)


def _has_unique_attributes(phrase: ExamplePhrase, example: TrainingExample, attributes: set[str]) -> bool:
    own = set(phrase.text.split()) & attributes
    others = [set(other.text.split()) for other in example.phrases if other is not phrase]
    return bool(own) and not any(own <= words for words in others)


def replace_text(prompt: TrainingPrompt, edits: Sequence[tuple[int, int, str]]) -> TrainingPrompt:
    """Replace non-overlapping pieces, given as (begin, end, text). Spans follow their text."""
    if not edits:
        return prompt
    edits = sorted(edits)
    pieces, last = [], 0
    for begin, end, words in edits:
        pieces += [prompt.text[last:begin], words]
        last = end
    text = "".join([*pieces, prompt.text[last:]])
    spans = tuple(
        span._replace(
            begin=_move_offset(span.begin, edits, to_end=False),
            end=_move_offset(span.end, edits, to_end=True),
        )
        for span in prompt.spans
    )
    return TrainingPrompt(text, spans, prompt.kind)


def _move_offset(offset: int, edits: Sequence[tuple[int, int, str]], to_end: bool) -> int:
    shift = 0
    for begin, end, words in edits:
        if end <= offset:
            shift += len(words) - (end - begin)
        elif begin < offset:  # inside the replaced piece: the whole new piece belongs to the span
            return begin + shift + (len(words) if to_end else 0)
    return offset + shift


def mirror_prompt(prompt: TrainingPrompt) -> TrainingPrompt:
    """Return the prompt of the mirror image: 'left' and 'right' are swapped, in 'lefthand' too. Case is kept."""
    return replace_text(
        prompt, [(m.start(), m.end(), _opposite_side(m.group())) for m in SIDES.finditer(prompt.text)]
    )


def _opposite_side(word: str) -> str:
    other = "right" if word.lower() == "left" else "left"
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
