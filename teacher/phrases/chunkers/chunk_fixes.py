"""Rules for every base noun phrase, whichever chunker found it: clean edges, one thing per phrase, no verb as head.

The result is parts of the chunk, in order and without overlap. Each ends in its head noun, or a number after it.
"""

from __future__ import annotations

from teacher.phrases.tagging.lexicon import singularize
from teacher.phrases.text.token_lists import ADJECTIVE_TAGS, NOUN_TAGS, PRONOUN_TAGS, Chunk, Words

_NEVER_FIRST = frozenset(
    {"CC", "IN", "RB", "RP", "TO", "POS", "HYPH", "_SP", ",", ":", ".", "``", "''", "-LRB-", "-RRB-", "SYM", "NFP",
     "MD", "VBZ", "VBP", "VBD", "VB", "UH", "WRB", "WDT", "LS", "#", "ADD"}
)  # fmt: skip
_BREAKS = frozenset('|#;:•·»«><=~*.!?()[]{}"“”…+\\')
_DASHES = frozenset({"-", "–", "—", "--", "/", "&"})
_FIRST_OF_THING = NOUN_TAGS | {"DT", "PRP$"}
_SPLIT_FORMS = _BREAKS | _DASHES | {","}
_SPLIT_TAGS = frozenset({"_NL", "CC", "VBG"})
_MONEY = frozenset("$£€¥")
_HELPERS = frozenset(
    {"be", "is", "are", "was", "were", "been", "being", "has", "have", "had", "'s", "get", "gets"}
)
_DESCRIBED = NOUN_TAGS | ADJECTIVE_TAGS | {"HYPH"}
_SINGULAR = frozenset({"a", "an", "one", "this", "that", "every", "each", "another"})
_LAST_TAGS = NOUN_TAGS | PRONOUN_TAGS | {"CD", "VBG"}


def fix_chunk(words: Words, chunk: Chunk) -> list[Chunk]:
    """Return the trimmed chunk, or its parts if a comma, bar or spaced dash is between things."""
    first, end, head = chunk
    lower, tags = words.lower, words.tags
    parts = []
    for i in range(first, end):
        if (lower[i] in _SPLIT_FORMS or tags[i] in _SPLIT_TAGS) and _is_split(words, i, chunk):
            parts.append(_trim(words, first, i, head))
            first = i + 1
    parts.append(_trim(words, first, end, head))
    return [part for part in parts if part is not None]


def _is_split(words: Words, i: int, chunk: Chunk) -> bool:
    return _breaks(words, i, chunk) or _joins_things(words, i, chunk) or _is_verb_after_noun(words, i, chunk)


def _breaks(words: Words, i: int, chunk: Chunk) -> bool:
    form, tag = words.lower[i], words.tags[i]
    if tag == "_NL" or form in _BREAKS:
        return True
    if form == ",":
        return not _between_adjectives(words, i, chunk)
    return (
        form in _DASHES
        and form != "&"
        and words.is_surrounded_by_space(i)
        and not _is_hyphen(words, i, chunk)
    )


def _is_hyphen(words: Words, i: int, chunk: Chunk) -> bool:
    """Return whether a dash joins two words, as in captions that were tokenized: `a middle - aged couple`."""
    if words.tags[i] != "HYPH" or not chunk.start < i < chunk.end - 2:
        return False
    return words.tags[i + 2] in _DESCRIBED and words.lower[i + 2] not in _BREAKS


def _joins_things(words: Words, i: int, chunk: Chunk) -> bool:
    """Return whether "and" is between two things, a noun before it: `a brush and watercolor paints`."""
    if words.tags[i] != "CC" or not chunk.start < i < chunk.end - 1:
        return False
    return words.tags[i - 1] in NOUN_TAGS and words.tags[i + 1] in _FIRST_OF_THING


def _is_verb_after_noun(words: Words, i: int, chunk: Chunk) -> bool:
    """Return whether a form in -ing follows a noun, so that it describes no noun: `wind blowing sand`."""
    return words.tags[i] == "VBG" and chunk.start < i < chunk.end - 1 and words.tags[i - 1] in NOUN_TAGS


def _between_adjectives(words: Words, i: int, chunk: Chunk) -> bool:
    """Return whether a comma has an adjective on both sides, and a noun follows: `a cold, wet dog`."""
    if not chunk.start < i < chunk.end - 2:
        return False
    before, after = words.tags[i - 1], words.tags[i + 1]
    return (before in ADJECTIVE_TAGS or before == "CD") and (
        after in ADJECTIVE_TAGS or after in {"RB", "VBG"}
    )


def _trim(words: Words, start: int, end: int, head: int) -> Chunk | None:
    tags = words.tags
    while start < end and _cannot_begin(words, start):
        start += 1
    while start < end and (tags[end - 1] not in _LAST_TAGS or not _has_letter_or_digit(words.lower[end - 1])):
        end -= 1
    if end - start > 1 and _ends_in_verb(words, start, end):
        end -= 1
    if start >= end or (tags[end - 1] == "CD" and not _has_noun(words, start, end)):
        return None
    if tags[end - 1] == "VBG" and head != end - 1:
        return None
    return Chunk(start, end, head if start <= head < end else _find_last_noun(words, start, end))


def _has_noun(words: Words, start: int, end: int) -> bool:
    return any(words.tags[i] in _LAST_TAGS and words.tags[i] != "CD" for i in range(start, end))


def _find_last_noun(words: Words, start: int, end: int) -> int:
    return max(i for i in range(start, end) if words.tags[i] in _LAST_TAGS and words.tags[i] != "CD")


def _has_letter_or_digit(form: str) -> bool:
    return form.isalnum() or any(map(str.isalnum, form))


def _cannot_begin(words: Words, i: int) -> bool:
    tag = words.tags[i]
    form = words.lower[i]
    if tag in _NEVER_FIRST or not (_has_letter_or_digit(form) or form in _MONEY):
        return True
    return tag == "VBN" and i > 0 and words.lower[i - 1] in _HELPERS


def _ends_in_verb(words: Words, start: int, end: int) -> bool:
    """Return whether a plural ends what a singular determiner began: `a man pauses`."""
    form, tags = words.lower[end - 1], words.tags
    if words.lower[start] not in _SINGULAR or tags[end - 2] not in {"NN", "NNP"}:
        return False
    return tags[end - 1] == "NNS" or (
        tags[end - 1] == "NN" and form.endswith("s") and singularize(form) != form
    )
