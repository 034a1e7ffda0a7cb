"""Base noun phrases of a parsed document: spaCy's own iterator for ClearNLP labels, ours for Universal Dependencies.

A phrase is a head noun with the words before it that depend on it: determiner, adjectives, numbers, compounds and
possessors, without gaps.
"""

from __future__ import annotations

from collections.abc import Iterator

from teacher.phrases.chunkers.chunk_fixes import fix_chunk
from teacher.phrases.tagging.tag_fixes import fix_tags
from teacher.phrases.text.token_lists import NOUN_TAGS, PRONOUN_TAGS, Chunk, Words

# Relations of a token before the noun: to the noun itself, and further down inside such a modifier.
_TO_HEAD = frozenset(
    {
        "det", "det:predet", "amod", "compound", "nummod", "nmod:poss", "nmod", "advmod", "punct", "flat",
        "goeswith", "dep",
    }
)  # fmt: skip
_NESTED = _TO_HEAD | {"cc", "conj", "case", "obl:unmarked", "fixed", "compound:prt", "obl", "mark"}
_AFTER_HEAD = frozenset({"flat", "goeswith", "nummod"})
_NOMINAL = frozenset({"nsubj", "nsubj:pass", "obj", "obl", "nmod", "conj", "root", "ROOT", "iobj", "appos"})
_HEAD_TAGS = NOUN_TAGS | PRONOUN_TAGS
_DETERMINERS = frozenset({"DT", "PRP$"})
# Participles that make one adjective with the noun before them: `heart shaped balloons`.
_AFTER_NOUN = frozenset(
    """shaped covered filled lined colored coloured themed sized patterned studded topped flavored flavoured
    scented inspired""".split()  # noqa: SIM905
)
_COULD_END = _HEAD_TAGS | {"VBG", "CD", "FW", "GW", "JJ"}
_MAX_DEPTH, _NEAR, _MAX_WORDS = 8, 12, 32


def find_clear_chunks(words: Words) -> Iterator[Chunk]:
    """Yield the `noun_chunks` of a spaCy model with a parser, trimmed and split."""
    for span in words.doc.noun_chunks:
        yield from fix_chunk(words, Chunk(span.start, span.end, span.root.i))


def find_universal_chunks(words: Words) -> list[Chunk]:
    """Return base noun phrases and pronouns of a parse in Universal Dependencies, trimmed and split."""
    fix_tags(words)
    found: list[Chunk] = []
    tags, last = words.tags, len(words) - 1
    while last >= 0:
        chunk = _find_chunk_ending_at(words, last) if tags[last] in _COULD_END else None
        if chunk is not None:
            found.append(chunk)
            last = chunk.start
        last -= 1
    return [part for chunk in reversed(found) for part in fix_chunk(words, chunk)]


def _find_chunk_ending_at(words: Words, last: int) -> Chunk | None:
    tag = words.tags[last]
    if tag in PRONOUN_TAGS:
        return Chunk(last, last + 1, last)
    top = _find_top(words, last)
    if words.tags[top] not in _HEAD_TAGS and not _is_used_as_noun(words, top):
        return None
    if words.tags[top] == "NNS" and _has_subject(words, top):
        return None
    start = _find_start(words, top)
    while start > 0 and words.lower[start] in _AFTER_NOUN and words.tags[start - 1] in NOUN_TAGS:
        start = _find_start(words, start - 1)
    while not words.only_letters and (hyphen := _find_hyphen(words, start)):
        start = _find_start(words, hyphen - 1)
    return Chunk(start, last + 1, last if tag in NOUN_TAGS else top)


def _find_start(words: Words, top: int) -> int:
    """Return the index of the first token of a head's phrase."""
    start = top
    while start > 0 and top - start < _MAX_WORDS and _is_modifier(words, start - 1, top):
        start -= 1
    # A determiner just before belongs to the phrase, even if the parser attached it elsewhere.
    return start - (start > 0 and words.tags[start - 1] in _DETERMINERS)


def _find_hyphen(words: Words, start: int) -> int:
    """Return the index of the hyphen that joins the phrase to the word before it, 0 if there is none."""
    if start > 0 and words.is_hyphen(start):
        return start
    return start - 1 if start > 1 and words.is_hyphen(start - 1) else 0


def _has_subject(words: Words, i: int) -> bool:
    """Return whether token `i` has a subject and no copula, so it is a verb for any tag: `a car approaches`."""
    below = [words.relations[j] for j in range(max(0, i - _NEAR), i) if words.heads[j] == i]
    return "nsubj" in below and "cop" not in below


def _find_top(words: Words, last: int) -> int:
    """Return the head of a name whose later parts depend on its first: `Ada Lovelace`, `gate 5`."""
    top = last
    while words.relations[top] in _AFTER_HEAD and words.heads[top] < top:
        head = words.heads[top]
        if top - head > _NEAR or any(words.heads[i] != head for i in range(head + 1, top)):
            return last
        top = head
    return top


def _is_used_as_noun(words: Words, i: int) -> bool:
    """Return whether a form in -ing with a determiner is in a noun's place: `the building`, tagged as verb."""
    if words.tags[i] != "VBG" or words.relations[i] not in _NOMINAL:
        return False
    return any(words.heads[j] == i and words.relations[j] == "det" for j in range(max(0, i - 4), i))


def _is_modifier(words: Words, i: int, top: int) -> bool:
    """Return whether token `i`, before `top`, is part of its modifiers."""
    relations, heads, tags = words.relations, words.heads, words.tags
    for _ in range(_MAX_DEPTH):
        head = heads[i]
        if head == top:
            return relations[i] in _TO_HEAD
        if not i < head < top and not (head < i and relations[i] in _NESTED):
            return False
        if relations[i] not in _NESTED or tags[i] == "IN":
            return False
        i = head
    return False
