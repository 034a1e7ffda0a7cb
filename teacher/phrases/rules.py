"""From a tagged document to phrases: chunks found, cleaned of junk, judged, and made longer where asked.

This is what the spaCy component and the phrase finder share. Promise: base phrases do not overlap and come in order;
an expression follows its base phrase and begins where that begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Literal, NamedTuple

from spacy.tokens import Doc

from teacher.phrases.chunkers import Chunker
from teacher.phrases.chunkers.expressions import expression_of
from teacher.phrases.judge.groundable import Groundability, root_of
from teacher.phrases.text.junk import junk_tokens, runs, without
from teacher.phrases.text.token_lists import NOUN_TAGS, Chunk, Words, words_of

Span = tuple[int, int]
_PLACE = itemgetter(0, 1)  # start and end of what was found
Partitives = Literal["inner", "whole"]


class Found(NamedTuple):
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
        for chunk in self._chunks(words, junk):
            code = self._judge.code(words, chunk)
            root = root_of(words, chunk.head)
            found.append(_found(words, chunk, root, self._kind, code))
            if self._expressions and code is None and (longer := expression_of(words, chunk)) is not None:
                found.append(_found(words, longer, root, "expression"))
        found.sort(key=_PLACE)
        return found

    def _chunks(self, words: Words, junk: set[int]) -> Iterable[Chunk]:
        chunks = self._chunker(words)
        if junk:
            chunks = [clean for whole in chunks for clean in without(words, whole, junk)]
        chunks = self._judge.parts(words, chunks)
        return self._joined(words, chunks) if self._whole else chunks

    def _joined(self, words: Words, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """A quantity and what it is of in one chunk: `a group of people`."""
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
    start, end, _ = chunk
    last = words.tokens[end - 1]
    return Found(start, end, words.tokens[start].idx, last.idx + len(last), root, kind, code)
