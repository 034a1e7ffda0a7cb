"""From a tagged document to phrases: chunks found, cleaned of junk, judged, and made longer where asked.

This is what the spaCy component and the phrase finder share. Promise: base phrases do not overlap and come in order;
an expression follows its base phrase and begins where that begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from spacy.tokens import Doc

from teacher.phrases.chunkers import Chunker
from teacher.phrases.chunkers.expressions import expression_of
from teacher.phrases.groundable import Groundability, root_of
from teacher.phrases.junk import junk_tokens, runs, without
from teacher.phrases.words import NOUN_TAGS, Chunk, Words, words_of

Span = tuple[int, int]
Partitives = Literal["inner", "whole"]


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens [start, end) of the document, which are [begin, stop) of its characters; `code` says why it is not
    asked for, None where it is."""

    start: int
    end: int
    begin: int
    stop: int
    root: str
    kind: str
    code: str | None = None


class PhraseRules:
    """One way to find phrases in a document, made once per pipeline."""

    def __init__(
        self,
        chunker: Chunker,
        judge: Groundability,
        *,
        kind: str = "chunk",
        expressions: bool = False,
        partitives: Partitives = "inner",
    ) -> None:
        self._chunker = chunker
        self._judge = judge
        self._kind = kind
        self._expressions = expressions
        self._whole = partitives == "whole"

    def __call__(self, doc: Doc) -> list[Found]:
        """Phrases in order of their begin, asked for and dropped."""
        words = words_of(doc)
        junk = junk_tokens(words)
        found = [_found(words, run, words.lower[run.head], "chunk", "PH_JUNK") for run in runs(junk)]
        for chunk in self._joined(words, list(self._chunks(words, junk))):
            found.extend(self._judged(words, chunk))
        found.sort(key=lambda item: (item.start, item.end))
        return found

    def _chunks(self, words: Words, junk: set[int]) -> Iterator[Chunk]:
        for whole in self._chunker(words):
            for clean in without(words, whole, junk):
                yield from self._judge.parts(words, clean)

    def _joined(self, words: Words, chunks: list[Chunk]) -> Iterator[Chunk]:
        """With `partitives: whole`, a quantity and what it is of in one chunk: `a group of people`."""
        quantity: Chunk | None = None
        for chunk in chunks:
            if quantity is not None and quantity.end + 1 == chunk.start:
                chunk = Chunk(quantity.start, chunk.end, chunk.head)
            elif quantity is not None:
                yield quantity
            quantity = chunk if self._whole and self._judge.is_partitive(words, chunk) else None
            if quantity is None:
                yield chunk
        if quantity is not None:
            yield quantity

    def _judged(self, words: Words, chunk: Chunk) -> Iterator[Found]:
        code = self._judge.code(words, chunk)
        root = root_of(words, chunk.head)
        yield _found(words, chunk, root, self._kind, code)
        if self._expressions and code is None:
            longer = expression_of(words, chunk)
            if longer is not None:
                yield _found(words, longer, root, "expression")


def given(doc: Doc, spans: Sequence[Span]) -> list[Found]:
    """Spans [begin, end) of characters of the document's text as phrases, in the order given, without judgement.

    Tokens that a span cuts are taken whole; the caller knows the exact span. Raises ValueError outside the text.
    """
    return [_given(words_of(doc), span) for span in spans] if spans else []


def _given(words: Words, span: Span) -> Found:
    tokens = words.doc.char_span(*span, alignment_mode="expand")
    if tokens is None:
        raise ValueError(
            f"given span {list(span)} is no stretch of the text's {len(words.doc.text)} characters"
        )
    nouns = [i for i in range(tokens.start, tokens.end) if words.tags[i] in NOUN_TAGS]
    head = tokens.root.i if words.doc.has_annotation("DEP") else (nouns or [tokens.end - 1])[-1]
    return _found(words, Chunk(tokens.start, tokens.end, head), root_of(words, head), "given")


def _found(words: Words, chunk: Chunk, root: str, kind: str, code: str | None = None) -> Found:
    first, last = words.tokens[chunk.start], words.tokens[chunk.end - 1]
    return Found(chunk.start, chunk.end, first.idx, last.idx + len(last), root, kind, code)
