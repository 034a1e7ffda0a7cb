"""Tags that grammar forbids, put right before phrases are looked for. For taggers trained on running text.

Promise: only tags, relations and heads of the lists change, and only of words that the bundled lexicon knows as nouns.
"""

from __future__ import annotations

from teacher.phrases.judge.groundable import singular
from teacher.phrases.tagging.lexicon import bundled
from teacher.phrases.text.token_lists import NOUN_TAGS, Words

_MAY_STAND_BEFORE = frozenset({"JJ", "JJR", "JJS", "CD", "VBN", "_SP", "``", "''", "-LRB-"})
_OBJECT_BEGINS = frozenset({"DT", "PRP", "PRP$", "TO", "EX", "NNP", "RB"})
_AUXILIARIES = frozenset({"is", "has", "does", "was", "'s"})
_NEED_A_NOUN = frozenset(
    {"a", "an", "the", "every", "another", "his", "her", "its", "their", "our", "my", "your"}
)
_DETERMINERS = frozenset({"DT", "PRP$"})
_SINGULAR_ARTICLES = frozenset({"a", "an", "every", "another"})
_BETWEEN = frozenset({"JJ", "JJR", "JJS", "VBN", "CD"})
_NOT_BEFORE_A_HEAD = frozenset(
    {"nsubj", "nsubj:pass", "obj", "obl", "root", "ROOT", "conj", "parataxis", "appos", "nmod"}
)
_FINITE = frozenset({"VB", "VBP", "VBZ", "VBD"})
_FINITE_OR_GOES_ON = (
    _FINITE | NOUN_TAGS | _BETWEEN | {"HYPH", "CC", ",", "VBG", "RB", "POS", "_SP", "``", "''"}
)


def mend_tags(words: Words) -> None:
    """The rules below, over the whole document."""
    _mend_first(words)
    if _NEED_A_NOUN.isdisjoint(words.lower):
        return
    for i, form in enumerate(words.lower):
        if form in _NEED_A_NOUN and words.tags[i] in _DETERMINERS:
            _mend_after(words, i)


def _mend_first(words: Words) -> None:
    """`roses on a cake`: a form in -s that opens a caption is no verb, since nobody was named who does it.

    Only where it can be a noun and no object follows (`shows a man` stays a verb).
    """
    first, tags = 0, words.tags
    while first < len(tags) and tags[first] in _MAY_STAND_BEFORE:
        first += 1
    if first == len(tags) or tags[first] != "VBZ" or words.lower[first] in _AUXILIARIES:
        return
    after = tags[first + 1] if first + 1 < len(tags) else ""
    if after not in _OBJECT_BEGINS and _can_be_noun(words.lower[first]):
        tags[first] = "NNS"


def _mend_after(words: Words, determiner: int) -> None:
    """`a red plank`: a determiner needs a noun, so what stands where the noun must is none of verb and adjective."""
    tags, head = words.tags, determiner + 1
    while head < len(tags) and tags[head] in _BETWEEN:
        head += 1
    if _ends_at(words, head) or _ends_by_parse(words, determiner, head):
        head -= 1
        mended = words.lower[determiner] in _SINGULAR_ARTICLES and head > determiner
    else:
        mended = tags[head] in _FINITE
        if tags[head] in NOUN_TAGS:
            head, mended = _true_head(words, head), True
    if mended and (tags[head] in NOUN_TAGS or _can_be_noun(words.lower[head])):
        _make_noun(words, determiner, head)


def _ends_at(words: Words, i: int) -> bool:
    """Whether nothing that could be the noun comes at token `i`: `a plank, a ring`, `a plank and a ring`."""
    tags = words.tags
    if i == len(tags) or tags[i] not in _FINITE_OR_GOES_ON:
        return True
    return tags[i] in {",", "CC"} and i + 1 < len(tags) and tags[i + 1] in {"DT", "PRP$", "CD"}


def _ends_by_parse(words: Words, determiner: int, i: int) -> bool:
    """`a plank, free download`: a mark after what the parser itself has in a noun's place."""
    return (
        i - 1 > determiner and words.tags[i] in {",", "CC"} and words.relations[i - 1] in _NOT_BEFORE_A_HEAD
    )


def _true_head(words: Words, noun: int) -> int:
    """`a blue plank` read as `a blue [is] plank`: the adjective that a noun before it was made the subject of."""
    after = noun + 1
    if after < len(words) and words.tags[after] == "JJ" and _ends_at(words, after + 1):
        said_of = words.heads[noun] == after and words.relations[noun] == "nsubj"
        return after if said_of and _can_be_noun(words.lower[after]) else noun
    return noun


def _make_noun(words: Words, determiner: int, head: int) -> None:
    """The head is a noun, and what stands between determiner and head and was hung elsewhere hangs on it."""
    if words.tags[head] not in NOUN_TAGS:
        words.tags[head] = "NN"
    for i in range(determiner, head):
        if words.relations[i] in _NOT_BEFORE_A_HEAD or not determiner <= words.heads[i] < len(words):
            words.heads[i] = head
            words.relations[i] = "det" if i == determiner else "amod"


def _can_be_noun(form: str) -> bool:
    return bundled().is_noun(singular(form))
