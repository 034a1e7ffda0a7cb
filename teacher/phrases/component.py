"""The spaCy component `groundswell_phrases`: phrases to ask for and phrases dropped, as span groups of the document.

    nlp = spacy.load(teacher.phrases.bundled.FOLDER)   # or any model of yours
    nlp.add_pipe("groundswell_phrases", config={"chunker": "noun_chunks", "expressions": True})
    doc = nlp("a red dog near the old tree")
    doc.spans["phrases"]          label: the kind of phrase, span id: the lemma of its head
    doc.spans["dropped_phrases"]  label: a reason code of schemas.codes

`chunker` names any strategy of `teacher.phrases.chunkers`. Spans of `doc.spans["given"]` are taken as phrases too;
`chunker: given` takes them alone. The installed package tells spaCy the name; a source checkout imports this first.
Promise: spans are token spans of the text as given, so `doc.text[span.start_char:span.end_char] == span.text`.
"""

from __future__ import annotations

from collections.abc import Sequence

from spacy.language import Language
from spacy.tokens import Doc, Span

import teacher.phrases.tagging.tagger  # noqa: F401 - registers the tagger that noun_chunks of a blank pipeline needs
from teacher.phrases.chunkers import chunker_for
from teacher.phrases.judge.groundable import Groundability
from teacher.phrases.rules import Found, Partitives, PhraseRules, given

PHRASES, DROPPED, GIVEN = "phrases", "dropped_phrases", "given"


class GroundswellPhrases:
    """Finds phrases and files each under one of the two span groups."""

    def __init__(self, rules: PhraseRules) -> None:
        self._rules = rules

    def __call__(self, doc: Doc) -> Doc:
        spans = [(span.start_char, span.end_char) for span in doc.spans.get(GIVEN, ())]
        found = [*self._rules(doc), *given(doc, spans)]
        doc.spans[PHRASES] = [_span(doc, item) for item in found if item.code is None]
        doc.spans[DROPPED] = [_span(doc, item) for item in found if item.code is not None]
        return doc


def rules_for(
    nlp: Language,
    chunker: str,
    *,
    stop_heads: Sequence[str] = (),
    keep_heads: Sequence[str] = (),
    expressions: bool = False,
    partitives: Partitives = "inner",
) -> PhraseRules:
    """The rules of a pipeline. Raises ConfigError when it lacks what the chunker needs."""
    return PhraseRules(
        chunker_for(nlp, chunker),
        Groundability(stop_heads, keep_heads),
        kind="ngram" if chunker == "ngrams" else "chunk",
        expressions=expressions and "parser" in nlp.pipe_names,
        partitives=partitives,
    )


@Language.factory(
    "groundswell_phrases",
    default_config={
        "chunker": "noun_chunks",
        "stop_heads": [],
        "keep_heads": [],
        "expressions": False,
        "partitives": "inner",
    },
)
def make_phrases(
    nlp: Language,
    name: str,
    chunker: str,
    stop_heads: Sequence[str],
    keep_heads: Sequence[str],
    expressions: bool,
    partitives: Partitives,
) -> GroundswellPhrases:
    rules = rules_for(
        nlp,
        chunker,
        stop_heads=stop_heads,
        keep_heads=keep_heads,
        expressions=expressions,
        partitives=partitives,
    )
    return GroundswellPhrases(rules)


def _span(doc: Doc, found: Found) -> Span:
    return Span(doc, found.start, found.end, label=found.code or found.kind, span_id=found.root)
