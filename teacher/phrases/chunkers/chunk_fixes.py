"""What every base noun phrase must obey, whoever found it: clean edges, one thing a phrase, no verb for a head.

Promise: parts of a chunk, in order, without overlap, each ending in its head noun (or a number after it).
"""

from __future__ import annotations

from teacher.phrases.judge.groundable import singular
from teacher.phrases.text.token_lists import ADJECTIVE_TAGS, NOUN_TAGS, PRONOUN_TAGS, Chunk, Words

_NEVER_FIRST = frozenset(
    {"CC", "IN", "RB", "RP", "TO", "POS", "HYPH", "_SP", ",", ":", ".", "``", "''", "-LRB-", "-RRB-", "SYM", "NFP",
     "MD", "VBZ", "VBP", "VBD", "VB", "UH", "WRB", "WDT", "LS", "#", "ADD"}
)  # fmt: skip
_BREAKS = frozenset('|#;:•·»«><=~*.!?()[]{}"“”…+\\')
_DASHES = frozenset({"-", "–", "—", "--", "/", "&"})
_THING_BEGINS = NOUN_TAGS | {"DT", "PRP$"}
_WATCHED = _BREAKS | _DASHES | {","}
_WATCHED_TAGS = frozenset({"_NL", "CC", "VBG"})
_MONEY = frozenset("$£€¥")
_HELPERS = frozenset(
    {"be", "is", "are", "was", "were", "been", "being", "has", "have", "had", "'s", "get", "gets"}
)
_DESCRIBED = NOUN_TAGS | ADJECTIVE_TAGS | {"HYPH"}
_SINGULAR = frozenset({"a", "an", "one", "this", "that", "every", "each", "another"})
_LAST_TAGS = NOUN_TAGS | PRONOUN_TAGS | {"CD", "VBG"}


def repaired(words: Words, chunk: Chunk) -> list[Chunk]:
    """The chunk trimmed, or its parts where a comma, bar or spaced dash stands between things."""
    first, end, head = chunk
    lower, tags = words.lower, words.tags
    parts = []
    for i in range(first, end):
        if (lower[i] in _WATCHED or tags[i] in _WATCHED_TAGS) and _parts_here(words, i, chunk):
            parts.append(_trimmed(words, first, i, head))
            first = i + 1
    parts.append(_trimmed(words, first, end, head))
    return [part for part in parts if part is not None]


def _parts_here(words: Words, i: int, chunk: Chunk) -> bool:
    return _breaks(words, i, chunk) or _joins_things(words, i, chunk) or _goes_on(words, i, chunk)


def _breaks(words: Words, i: int, chunk: Chunk) -> bool:
    form, tag = words.lower[i], words.tags[i]
    if tag == "_NL" or form in _BREAKS:
        return True
    if form == ",":
        return not _between_adjectives(words, i, chunk)
    return form in _DASHES and form != "&" and words.stands_alone(i) and not _is_hyphen(words, i, chunk)


def _is_hyphen(words: Words, i: int, chunk: Chunk) -> bool:
    """`a middle - aged couple`: captions whose words were parted by a tokenizer."""
    if words.tags[i] != "HYPH" or not chunk.start < i < chunk.end - 2:
        return False
    return words.tags[i + 2] in _DESCRIBED and words.lower[i + 2] not in _BREAKS


def _joins_things(words: Words, i: int, chunk: Chunk) -> bool:
    """`a brush and watercolor paints`: after a noun and before a noun or determiner it parts two things."""
    if words.tags[i] != "CC" or not chunk.start < i < chunk.end - 1:
        return False
    return words.tags[i - 1] in NOUN_TAGS and words.tags[i + 1] in _THING_BEGINS


def _goes_on(words: Words, i: int, chunk: Chunk) -> bool:
    """`wind blowing sand`: a form in -ing describes a noun only where none stands before it."""
    return words.tags[i] == "VBG" and chunk.start < i < chunk.end - 1 and words.tags[i - 1] in NOUN_TAGS


def _between_adjectives(words: Words, i: int, chunk: Chunk) -> bool:
    """`a cold, wet dog`: an adjective on either side, and a noun still to come."""
    if not chunk.start < i < chunk.end - 2:
        return False
    before, after = words.tags[i - 1], words.tags[i + 1]
    return (before in ADJECTIVE_TAGS or before == "CD") and (
        after in ADJECTIVE_TAGS or after in {"RB", "VBG"}
    )


def _trimmed(words: Words, start: int, end: int, head: int) -> Chunk | None:
    tags = words.tags
    while start < end and _cannot_begin(words, start):
        start += 1
    while start < end and (tags[end - 1] not in _LAST_TAGS or not _says_something(words.lower[end - 1])):
        end -= 1
    if end - start > 1 and _is_verb_after_all(words, start, end):
        end -= 1
    if start >= end or (tags[end - 1] == "CD" and not _holds_noun(words, start, end)):
        return None
    if tags[end - 1] == "VBG" and head != end - 1:
        return None
    return Chunk(start, end, head if start <= head < end else _last_noun(words, start, end))


def _holds_noun(words: Words, start: int, end: int) -> bool:
    return any(words.tags[i] in _LAST_TAGS and words.tags[i] != "CD" for i in range(start, end))


def _last_noun(words: Words, start: int, end: int) -> int:
    return max(i for i in range(start, end) if words.tags[i] in _LAST_TAGS and words.tags[i] != "CD")


def _says_something(form: str) -> bool:
    return form.isalnum() or any(map(str.isalnum, form))


def _cannot_begin(words: Words, i: int) -> bool:
    tag = words.tags[i]
    form = words.lower[i]
    if tag in _NEVER_FIRST or not (_says_something(form) or form in _MONEY):
        return True
    return tag == "VBN" and i > 0 and words.lower[i - 1] in _HELPERS


def _is_verb_after_all(words: Words, start: int, end: int) -> bool:
    """`a man pauses`: a plural cannot end what a singular determiner began."""
    form, tags = words.lower[end - 1], words.tags
    if words.lower[start] not in _SINGULAR or tags[end - 2] not in {"NN", "NNP"}:
        return False
    return tags[end - 1] == "NNS" or (tags[end - 1] == "NN" and form.endswith("s") and singular(form) != form)
