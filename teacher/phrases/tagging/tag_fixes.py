"""Fix tags that grammar forbids, before phrases are searched. For taggers trained on running text.

Only tags, relations and heads change, and only of words that the bundled lexicon knows as nouns.
"""

from __future__ import annotations

from teacher.phrases.tagging.lexicon import load_lexicon, singularize
from teacher.phrases.text.token_lists import NOUN_TAGS, Words

_BEFORE_FIRST_NOUN = frozenset({"JJ", "JJR", "JJS", "CD", "VBN", "_SP", "``", "''", "-LRB-"})
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
_FINITE_OR_CONTINUES = (
    _FINITE | NOUN_TAGS | _BETWEEN | {"HYPH", "CC", ",", "VBG", "RB", "POS", "_SP", "``", "''"}
)


def fix_tags(words: Words) -> None:
    """Apply the rules below to the whole document, in place."""
    _fix_first_verb(words)
    if _NEED_A_NOUN.isdisjoint(words.lower):
        return
    for i, form in enumerate(words.lower):
        if form in _NEED_A_NOUN and words.tags[i] in _DETERMINERS:
            _fix_after_determiner(words, i)


def _fix_first_verb(words: Words) -> None:
    """Make a form in -s at the start of a caption a noun, since a verb there has no subject: `roses on a cake`.

    Only if it can be a noun and no object follows (`shows a man` stays a verb).
    """
    first, tags = 0, words.tags
    while first < len(tags) and tags[first] in _BEFORE_FIRST_NOUN:
        first += 1
    if first == len(tags) or tags[first] != "VBZ" or words.lower[first] in _AUXILIARIES:
        return
    after = tags[first + 1] if first + 1 < len(tags) else ""
    if after not in _OBJECT_BEGINS and _can_be_noun(words.lower[first]):
        tags[first] = "NNS"


def _fix_after_determiner(words: Words, determiner: int) -> None:
    """Make the word where a determiner needs its noun a noun, if it was tagged as verb or adjective: `a red plank`."""
    tags, head = words.tags, determiner + 1
    while head < len(tags) and tags[head] in _BETWEEN:
        head += 1
    if _ends_at(words, head) or _ends_by_parse(words, determiner, head):
        head -= 1
        is_wrong = words.lower[determiner] in _SINGULAR_ARTICLES and head > determiner
    else:
        is_wrong = tags[head] in _FINITE
        if tags[head] in NOUN_TAGS:
            head, is_wrong = _find_true_head(words, head), True
    if is_wrong and (tags[head] in NOUN_TAGS or _can_be_noun(words.lower[head])):
        _make_noun(words, determiner, head)


def _ends_at(words: Words, i: int) -> bool:
    """Return whether token `i` cannot be the noun: `a plank, a ring`, `a plank and a ring`."""
    tags = words.tags
    if i == len(tags) or tags[i] not in _FINITE_OR_CONTINUES:
        return True
    return tags[i] in {",", "CC"} and i + 1 < len(tags) and tags[i + 1] in {"DT", "PRP$", "CD"}


def _ends_by_parse(words: Words, determiner: int, i: int) -> bool:
    """Return whether a mark follows a word that the parser put in a noun's place: `a plank, free download`."""
    return (
        i - 1 > determiner and words.tags[i] in {",", "CC"} and words.relations[i - 1] in _NOT_BEFORE_A_HEAD
    )


def _find_true_head(words: Words, noun: int) -> int:
    """Return the adjective whose subject the noun was made: `a blue plank`, parsed as `a blue [is] plank`."""
    after = noun + 1
    if after < len(words) and words.tags[after] == "JJ" and _ends_at(words, after + 1):
        is_subject = words.heads[noun] == after and words.relations[noun] == "nsubj"
        return after if is_subject and _can_be_noun(words.lower[after]) else noun
    return noun


def _make_noun(words: Words, determiner: int, head: int) -> None:
    """Tag the head as a noun, and attach words between determiner and head to it if they were attached elsewhere."""
    if words.tags[head] not in NOUN_TAGS:
        words.tags[head] = "NN"
    for i in range(determiner, head):
        if words.relations[i] in _NOT_BEFORE_A_HEAD or not determiner <= words.heads[i] < len(words):
            words.heads[i] = head
            words.relations[i] = "det" if i == determiner else "amod"


def _can_be_noun(form: str) -> bool:
    return load_lexicon().is_noun(singularize(form))
