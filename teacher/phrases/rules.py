"""From a tagged document to phrases: find chunks, remove junk, judge them, extend them to expressions if asked.

The spaCy component and the phrase finder share these rules. Base phrases do not overlap and are in order. An
expression follows its base phrase and begins where that begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Literal, NamedTuple

from spacy.tokens import Doc

from schemas.records import PhraseKind
from teacher.phrases.chunkers.expressions import extend_to_expression
from teacher.phrases.chunkers.registry import Chunker
from teacher.phrases.judge.groundable import Groundability, find_root
from teacher.phrases.text.junk import find_junk, group_neighbors, remove_junk
from teacher.phrases.text.token_lists import NOUN_TAGS, Chunk, Words, list_words

Span = tuple[int, int]
Partitives = Literal["inner", "whole"]
_TOKEN_RANGE = itemgetter(0, 1)


class DocPhrase(NamedTuple):
    """A phrase: tokens [start, end) of the document, characters [begin, stop). `code`: why it is dropped, or None."""

    start: int
    end: int
    begin: int
    stop: int
    root: str
    kind: PhraseKind
    code: str | None = None


class PhraseRules:
    """The rules of one pipeline, made once per pipeline."""

    def __init__(
        self,
        chunker: Chunker,
        judge: Groundability,
        *,
        kind: PhraseKind = "chunk",
        expressions: bool = False,
        partitives: Partitives = "inner",
    ) -> None:
        self._chunker = chunker
        self._judge = judge
        self._kind = kind
        self._expressions = expressions
        self._joins_partitives = partitives == "whole"

    def __call__(self, doc: Doc) -> list[DocPhrase]:
        """Return all phrases in order of their begin, those to ask for and those dropped."""
        words = list_words(doc)
        junk = find_junk(words)
        phrases = [
            _make_phrase(words, run, words.lower[run.head], "chunk", "PH_JUNK")
            for run in group_neighbors(junk)
        ]
        for chunk in self._find_chunks(words, junk):
            code = self._judge.find_drop_code(words, chunk)
            root = find_root(words, chunk.head)
            phrases.append(_make_phrase(words, chunk, root, self._kind, code))
            if (
                self._expressions
                and code is None
                and (longer := extend_to_expression(words, chunk)) is not None
            ):
                phrases.append(_make_phrase(words, longer, root, "expression"))
        phrases.sort(key=_TOKEN_RANGE)
        return phrases

    def _find_chunks(self, words: Words, junk: set[int]) -> Iterable[Chunk]:
        chunks = self._chunker(words)
        if junk:
            chunks = [clean for whole in chunks for clean in remove_junk(words, whole, junk)]
        chunks = self._judge.split_catalog_words(words, chunks)
        return self._join_partitives(words, chunks) if self._joins_partitives else chunks

    def _join_partitives(self, words: Words, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield a quantity and what it counts as one chunk: `a group of people`."""
        quantity: Chunk | None = None
        for chunk in chunks:
            if quantity is not None and quantity.end + 1 == chunk.start:
                chunk = Chunk(quantity.start, chunk.end, chunk.head)
            elif quantity is not None:
                yield quantity
            quantity = chunk if self._judge.is_partitive(words, chunk) else None
            if quantity is None:
                yield chunk
        if quantity is not None:
            yield quantity


def locate_given(doc: Doc, spans: Sequence[Span]) -> list[DocPhrase]:
    """Return spans [begin, end) of the text's characters as phrases, in the order given, without judging them.

    A token that a span cuts is taken whole. The caller knows the exact span. Raises ValueError for a span outside the
    text.
    """
    return [_locate(list_words(doc), span) for span in spans] if spans else []


def _locate(words: Words, span: Span) -> DocPhrase:
    tokens = words.doc.char_span(*span, alignment_mode="expand")
    if tokens is None:
        # may become the detail of a rejected sample, which is stored, so the text must not change
        raise ValueError(
            f"given span {list(span)} is no stretch of the text's {len(words.doc.text)} characters"
        )
    nouns = [i for i in range(tokens.start, tokens.end) if words.tags[i] in NOUN_TAGS]
    head = tokens.root.i if words.doc.has_annotation("DEP") else (nouns or [tokens.end - 1])[-1]
    return _make_phrase(words, Chunk(tokens.start, tokens.end, head), find_root(words, head), "given")


def _make_phrase(
    words: Words, chunk: Chunk, root: str, kind: PhraseKind, code: str | None = None
) -> DocPhrase:
    start, end, _ = chunk
    last = words.tokens[end - 1]
    return DocPhrase(start, end, words.tokens[start].idx, last.idx + len(last), root, kind, code)
