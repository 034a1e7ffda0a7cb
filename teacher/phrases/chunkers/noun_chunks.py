"""Base noun phrases by the best way that a pipeline allows: its parse, or tags of the lexicon tagger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from teacher.phrases.chunkers.dependency import find_clear_chunks, find_universal_chunks
from teacher.phrases.chunkers.registry import Chunker, ChunkerEntry

if TYPE_CHECKING:
    from spacy.language import Language

_CLEAR_NLP = frozenset({"pobj", "dobj", "nsubjpass"})


def make_noun_chunks(nlp: Language) -> Chunker:
    """Return the chunker for a pipeline. Raises ConfigError if it has neither a parser nor the lexicon tagger."""
    if "groundswell_tagger" in nlp.pipe_names:
        from teacher.phrases.chunkers.lexicon_grammar import LexiconGrammar

        return LexiconGrammar(nlp.vocab)
    if "parser" in nlp.pipe_names:
        labels = set(nlp.get_pipe("parser").labels)  # type: ignore[attr-defined]
        return find_universal_chunks if nlp.lang == "en" and not labels & _CLEAR_NLP else find_clear_chunks
    raise ConfigError(
        f"phrases.chunker noun_chunks needs a parser, and the pipeline has {nlp.pipe_names}; choose another model, "
        "`pipeline: bundled` or `chunker: pos_grammar`"
    )


ENTRY = ChunkerEntry(
    description="base noun phrases of the parse (of tags with `lexicon`)",
    make=make_noun_chunks,
)
