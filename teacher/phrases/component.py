"""The spaCy component `groundswell_phrases`: phrases to ask for and phrases dropped, as span groups of the document.

    nlp = spacy.load(teacher.phrases.bundled.FOLDER)   # or any model of yours
    nlp.add_pipe("groundswell_phrases", config={"chunker": "noun_chunks", "expressions": True})
    doc = nlp("a red dog near the old tree")
    doc.spans["phrases"]          label: the kind of phrase, span id: the lemma of its head
    doc.spans["dropped_phrases"]  label: a reason code of schemas.codes

`chunker` names a chunker of `teacher.phrases.chunkers`. Spans of `doc.spans["given"]` become phrases too. With
`chunker: given` they are the only ones. The installed package tells spaCy the component's name. From a source checkout,
import this module first.
Spans are token spans of the text as given, so `doc.text[span.start_char:span.end_char] == span.text`.
"""

from __future__ import annotations

from collections.abc import Sequence

from spacy.language import Language
from spacy.tokens import Doc, Span

import teacher.phrases.tagging.tagger  # noqa: F401 - registers the tagger that noun_chunks of a blank pipeline needs
from schemas.errors import ConfigError
from teacher.phrases.chunkers.registry import CHUNKERS
from teacher.phrases.judge.groundable import Groundability
from teacher.phrases.rules import DocPhrase, Partitives, PhraseRules, locate_given

PHRASES, DROPPED, GIVEN = "phrases", "dropped_phrases", "given"


class GroundswellPhrases:
    """Write the phrases of a document into its two span groups."""

    def __init__(self, rules: PhraseRules) -> None:
        self._rules = rules

    def __call__(self, doc: Doc) -> Doc:
        spans = [(span.start_char, span.end_char) for span in doc.spans.get(GIVEN, ())]
        phrases = [*self._rules(doc), *locate_given(doc, spans)]
        doc.spans[PHRASES] = [_make_span(doc, phrase) for phrase in phrases if phrase.code is None]
        doc.spans[DROPPED] = [_make_span(doc, phrase) for phrase in phrases if phrase.code is not None]
        return doc


def make_rules(
    nlp: Language,
    chunker: str,
    *,
    stop_heads: Sequence[str] = (),
    keep_heads: Sequence[str] = (),
    expressions: bool = False,
    partitives: Partitives = "inner",
) -> PhraseRules:
    """Return the rules of a pipeline. Raises ConfigError for a chunker that is unknown or unfit for it.

    Also raises ConfigError for expressions without a parser.
    """
    entry = CHUNKERS.load(chunker)
    if expressions and "parser" not in nlp.pipe_names:
        raise ConfigError(
            f"phrases.expressions needs a parser, and the pipeline has {nlp.pipe_names}; leave expressions out, or "
            "choose a model with a parser and a chunker that uses it"
        )
    return PhraseRules(
        entry.make(nlp),
        Groundability(stop_heads, keep_heads),
        kind=entry.kind,
        expressions=expressions,
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
    """Make the component for spaCy."""
    rules = make_rules(
        nlp,
        chunker,
        stop_heads=stop_heads,
        keep_heads=keep_heads,
        expressions=expressions,
        partitives=partitives,
    )
    return GroundswellPhrases(rules)


def _make_span(doc: Doc, phrase: DocPhrase) -> Span:
    return Span(doc, phrase.start, phrase.end, label=phrase.code or phrase.kind, span_id=phrase.root)
