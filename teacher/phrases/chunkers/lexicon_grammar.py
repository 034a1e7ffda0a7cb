"""Base noun phrases by tag patterns, for the tagger of the bundled lexicon (`phrases.pipeline: lexicon`)."""

from __future__ import annotations

from collections.abc import Iterator

from spacy.matcher import Matcher
from spacy.tokens import Doc, Token
from spacy.vocab import Vocab

from teacher.phrases.text.token_lists import NOUN_TAGS, PRONOUN_TAGS, Chunk, Words

_ADJECTIVES = ["JJ", "JJR", "JJS", "VBN"]
_MODIFIERS = [*_ADJECTIVES, "CD", "POS", "HYPH", "_SP", *sorted(NOUN_TAGS)]
_NEVER_FIRST = frozenset({"CC", "IN", "RB", "RP", "POS", "HYPH", "_SP", ",", ":", "."})
_HELPERS = frozenset(
    {"be", "is", "are", "was", "were", "been", "being", "has", "have", "had", "'s", "get", "gets"}
)
_INSIDE = frozenset(
    {*_MODIFIERS, *PRONOUN_TAGS, "DT", "PDT", "PRP$", "WP$", "RB", "RBS", "RBR", "VBG", "CC", ","}
)
# A list of a thousand nouns is one match of the grammar and a million partial ones, so longer runs are cut.
_MAX_RUN = 32
_SINGULAR = frozenset({"a", "an", "one", "this", "that", "every", "each", "another"})


Condition = str | dict[str, list[str]]
Pattern = dict[str, Condition]
"""What one token of a match must be, in the form of spaCy's Matcher."""


class LexiconGrammar:
    """A chunker: determiner, modifiers and head noun, or a pronoun."""

    def __init__(self, vocab: Vocab) -> None:
        self._matcher = Matcher(vocab)
        self._matcher.add("CHUNK", _make_grammar(), greedy="LONGEST")

    def __call__(self, words: Words) -> Iterator[Chunk]:
        for start, end in _find_matches(self._matcher, words.doc):
            yield from _trim(words.doc, start, end)


def _find_matches(matcher: Matcher, doc: Doc) -> Iterator[tuple[int, int]]:
    """Yield the longest matches in order. A match is inside one run of neighboring tokens that can take part."""
    for first, last in _find_runs(doc):
        found = ((start, end) for _, start, end in matcher(doc[first:last]))
        yield from ((first + start, first + end) for start, end in sorted(found))


def _find_runs(doc: Doc) -> Iterator[tuple[int, int]]:
    first = None
    for token in doc:
        inside = token.tag_ in _INSIDE
        if first is not None and (not inside or token.i - first == _MAX_RUN):
            yield first, token.i
            first = None
        if inside and first is None:
            first = token.i
    if first is not None:
        yield first, len(doc)


def _make_grammar() -> list[list[Pattern]]:
    determiners: Pattern = {"TAG": {"IN": ["DT", "PDT", "PRP$", "WP$"]}}
    modifiers: Pattern = {"TAG": {"IN": _MODIFIERS}, "OP": "*"}
    adjective: Pattern = {"TAG": {"IN": _ADJECTIVES}}
    noun: Pattern = {"TAG": {"IN": sorted(NOUN_TAGS)}}
    between: Pattern = {"TAG": {"IN": ["CC", ","]}}
    return [
        [{"TAG": {"IN": sorted(PRONOUN_TAGS)}}],
        [{**determiners, "OP": "*"}, modifiers, noun],
        [{**determiners, "OP": "+"}, {"TAG": "RB", "OP": "+"}, adjective, modifiers, noun],
        [{"TAG": {"IN": ["RBS", "RBR"]}}, adjective, modifiers, noun],
        [{**determiners, "OP": "*"}, modifiers, adjective, between, adjective, modifiers, noun],
        # A participle in -ing modifies only if no noun is before it: "a woman wearing shoes" is two phrases.
        [{**determiners, "OP": "+"}, {**adjective, "OP": "*"}, {"TAG": "VBG"}, modifiers, noun],
        [{**adjective, "OP": "+"}, {"TAG": "VBG"}, modifiers, noun],
    ]


def _trim(doc: Doc, start: int, end: int) -> Iterator[Chunk]:
    while start < end and _cannot_begin(doc[start]):
        start += 1
    if end - start > 1 and _ends_in_verb(doc, start, end):
        end -= 1
        while doc[end - 1].is_space:
            end -= 1
    if start < end:
        yield Chunk(start, end, end - 1)


def _cannot_begin(token: Token) -> bool:
    if token.tag_ in _NEVER_FIRST:
        return True
    return token.tag_ == "VBN" and token.i > 0 and token.nbor(-1).lower_ in _HELPERS


def _ends_in_verb(doc: Doc, start: int, end: int) -> bool:
    """Return whether a plural ends what a singular determiner began: `a man pauses`."""
    return (
        doc[start].lower_ in _SINGULAR and doc[end - 1].tag_ == "NNS" and doc[end - 2].tag_ in {"NN", "NNP"}
    )
