"""The spaCy component `groundswell_phrases`: phrases to ask for and phrases dropped, as span groups of the document.

    nlp = spacy.blank("en")
    nlp.add_pipe("groundswell_tagger")    # not where the pipeline has a tagger and a parser of its own
    nlp.add_pipe("groundswell_phrases")
    doc = nlp("a red dog near the old tree")
    doc.spans["phrases"]          label: the kind of phrase, span id: the lemma of its head
    doc.spans["dropped_phrases"]  label: a reason code of schemas.codes

The installed package tells spaCy both names; a source checkout imports this module first.
Promise: spans are token spans of the text as given, so `doc.text[span.start_char:span.end_char] == span.text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc, Span

import teacher.phrases.tagger  # noqa: F401 - registers the tagger that noun_chunks of a blank pipeline needs
from schemas.errors import ConfigError
from teacher.phrases.chunkers import Chunk, Chunker, LexiconGrammar, PosGrammar, dependency_chunks
from teacher.phrases.groundable import Groundability, junk_tokens
from teacher.phrases.lexicon import bundled

PHRASES, DROPPED = "phrases", "dropped_phrases"


class GroundswellPhrases:
    """Finds chunks, judges each, and files it under one of the two span groups."""

    def __init__(self, chunker: Chunker, rules: Groundability) -> None:
        self._chunker = chunker
        self._rules = rules

    def __call__(self, doc: Doc) -> Doc:
        junk = junk_tokens(doc)
        kept, dropped = [], [_span(doc, run, "PH_JUNK") for run in _runs(junk)]
        for chunk in self._chunks(doc, junk):
            code = self._rules.code(doc, chunk)
            (kept if code is None else dropped).append(_span(doc, chunk, code or "chunk"))
        doc.spans[PHRASES] = kept
        doc.spans[DROPPED] = sorted(dropped, key=lambda span: span.start)
        return doc

    def _chunks(self, doc: Doc, junk: set[int]) -> Iterator[Chunk]:
        for whole in self._chunker(doc):
            for clean in _without(whole, junk):
                yield from self._rules.parts(doc, clean)


@Language.factory(
    "groundswell_phrases",
    default_config={"chunker": "noun_chunks", "stop_heads": [], "keep_heads": []},
)
def make_phrases(
    nlp: Language, name: str, chunker: str, stop_heads: Sequence[str], keep_heads: Sequence[str]
) -> GroundswellPhrases:
    return GroundswellPhrases(_chunker(nlp, chunker), Groundability(stop_heads, keep_heads))


def _chunker(nlp: Language, name: str) -> Chunker:
    if name == "pos_grammar":
        return PosGrammar(nlp.vocab)
    if name != "noun_chunks":
        raise ConfigError(f"phrases.chunker is {name!r}; expected noun_chunks or pos_grammar")
    if "groundswell_tagger" in nlp.pipe_names:
        return LexiconGrammar(nlp.vocab)
    if "parser" in nlp.pipe_names:
        return dependency_chunks
    raise ConfigError(
        f"phrases.chunker noun_chunks needs a parser and the pipeline has {nlp.pipe_names}; "
        "choose another model, `pipeline: bundled` or `chunker: pos_grammar`"
    )


def _span(doc: Doc, chunk: Chunk, label: str) -> Span:
    head = doc[chunk.head]
    # Lemmas of other pipelines' proper nouns stay plural or empty; the bundled rules are the common ground.
    root = head.lemma_.lower() if head.lemma_ and head.pos_ == "NOUN" else bundled().singular(head.text)
    return Span(doc, chunk.start, chunk.end, label=label, span_id=root)


def _runs(tokens: set[int]) -> Iterator[Chunk]:
    """Neighbouring tokens as one chunk each."""
    ordered = sorted(tokens)
    starts = [token for token in ordered if token - 1 not in tokens]
    ends = [token + 1 for token in ordered if token + 1 not in tokens]
    for start, end in zip(starts, ends):
        yield Chunk(start, end, end - 1)


def _without(chunk: Chunk, junk: set[int]) -> Iterator[Chunk]:
    """The chunk itself, or its part that holds the head where junk cuts it; nothing where the head is junk."""
    if chunk.head in junk:
        return
    start, end = chunk.head, chunk.head + 1
    while start > chunk.start and start - 1 not in junk:
        start -= 1
    while end < chunk.end and end not in junk:
        end += 1
    yield Chunk(start, end, chunk.head)
