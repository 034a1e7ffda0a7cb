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
# A list of a thousand nouns is one match of the grammar and a million of its parts: longer runs are cut.
_MAX_RUN = 32
_SINGULAR = frozenset({"a", "an", "one", "this", "that", "every", "each", "another"})


class LexiconGrammar:
    """Determiner, modifiers, head noun; pronouns."""

    def __init__(self, vocab: Vocab) -> None:
        self._matcher = Matcher(vocab)
        self._matcher.add("CHUNK", _grammar(), greedy="LONGEST")

    def __call__(self, words: Words) -> Iterator[Chunk]:
        for start, end in _matches(self._matcher, words.doc):
            yield from _repaired(words.doc, start, end)


def _matches(matcher: Matcher, doc: Doc) -> Iterator[tuple[int, int]]:
    """Longest matches in order, found run by run: a match lies within neighbouring tokens that can take part."""
    for first, last in _runs(doc):
        found = ((start, end) for _, start, end in matcher(doc[first:last]))
        yield from ((first + start, first + end) for start, end in sorted(found))


def _runs(doc: Doc) -> Iterator[tuple[int, int]]:
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


def _grammar() -> list[list[dict[str, object]]]:
    determiners = {"TAG": {"IN": ["DT", "PDT", "PRP$", "WP$"]}}
    modifiers = {"TAG": {"IN": _MODIFIERS}, "OP": "*"}
    adjective, noun = {"TAG": {"IN": _ADJECTIVES}}, {"TAG": {"IN": sorted(NOUN_TAGS)}}
    between = {"TAG": {"IN": ["CC", ","]}}
    return [
        [{"TAG": {"IN": sorted(PRONOUN_TAGS)}}],
        [{**determiners, "OP": "*"}, modifiers, noun],
        [{**determiners, "OP": "+"}, {"TAG": "RB", "OP": "+"}, adjective, modifiers, noun],
        [{"TAG": {"IN": ["RBS", "RBR"]}}, adjective, modifiers, noun],
        [{**determiners, "OP": "*"}, modifiers, adjective, between, adjective, modifiers, noun],
        # A participle in -ing modifies only where no noun stands before it: "a woman wearing shoes" is two phrases.
        [{**determiners, "OP": "+"}, {**adjective, "OP": "*"}, {"TAG": "VBG"}, modifiers, noun],
        [{**adjective, "OP": "+"}, {"TAG": "VBG"}, modifiers, noun],
    ]


def _repaired(doc: Doc, start: int, end: int) -> Iterator[Chunk]:
    while start < end and _cannot_begin(doc[start]):
        start += 1
    if end - start > 1 and _is_verb_after_all(doc, start, end):
        end -= 1
        while doc[end - 1].is_space:
            end -= 1
    if start < end:
        yield Chunk(start, end, end - 1)


def _cannot_begin(token: Token) -> bool:
    if token.tag_ in _NEVER_FIRST:
        return True
    return token.tag_ == "VBN" and token.i > 0 and token.nbor(-1).lower_ in _HELPERS


def _is_verb_after_all(doc: Doc, start: int, end: int) -> bool:
    """`a man pauses`: a plural cannot end what a singular determiner began."""
    return (
        doc[start].lower_ in _SINGULAR and doc[end - 1].tag_ == "NNS" and doc[end - 2].tag_ in {"NN", "NNP"}
    )
