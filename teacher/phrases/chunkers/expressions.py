"""Referring expressions: a base phrase with all words to its right that depend on its head (`a dog in a red coat`).

Source: GRIT (Kosmos-2, arXiv 2306.14824, section 2): a noun's dependency subtree without conjuncts.
An expression begins where its base phrase begins, and is longer. This links the two.
"""

from __future__ import annotations

from teacher.phrases.text.token_lists import Chunk, Words

_FOLLOWED = frozenset({"nmod", "acl", "acl:relcl", "prep", "relcl", "amod", "obl"})
_NOT_BELOW = frozenset({"conj", "cc", "parataxis", "appos", "punct", "list", "discourse"})
_FINITE = frozenset({"VBZ", "VBP", "VBD", "MD"})
_MAX_WORDS = 20
_CANNOT_END = frozenset({"IN", "CC", "DT", "TO", "PRP$", "HYPH", ",", ":", "."})


def extend_to_expression(words: Words, base: Chunk) -> Chunk | None:
    """Return the base phrase with its description to the right, or None if there is none."""
    end = base.end
    limit = min(len(words), base.start + _MAX_WORDS)
    while end < limit and _describes(words, end, base):
        end += 1
    while end > base.end and words.tags[end - 1] in _CANNOT_END:
        end -= 1
    return Chunk(base.start, end, base.head) if end > base.end else None


def _describes(words: Words, i: int, base: Chunk) -> bool:
    """Return whether token `i` describes the base phrase, not by way of a conjunct or apposition."""
    if words.tags[i] == "_NL":
        return False
    for _ in range(_MAX_WORDS):
        head = words.heads[i]
        if base.start <= head < base.end:
            # a separate clause, parsed wrongly
            finite = words.tags[i] in _FINITE and words.relations[i] == "acl"
            return words.relations[i] in _FOLLOWED and not finite
        if head == i or (words.relations[i] in _NOT_BELOW and words.lower[i] != "-"):
            return False
        i = head
    return False
