"""Ways to find noun phrases in a document, each a small strategy behind one interface.

A chunker takes `Words` and returns `Chunk`s in order. `teacher.phrases.judge.groundable` judges what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from spacy.language import Language

from schemas.errors import ConfigError
from teacher.phrases.chunkers.dependency import clear_chunks, universal_chunks
from teacher.phrases.chunkers.lexicon_grammar import LexiconGrammar
from teacher.phrases.chunkers.ngrams import ngrams
from teacher.phrases.chunkers.pos_grammar import pos_chunks
from teacher.phrases.text.token_lists import Chunk, Words

Chunker = Callable[[Words], Iterable[Chunk]]
NAMES = ("noun_chunks", "pos_grammar", "ngrams", "given")
_CLEAR_NLP = frozenset({"pobj", "dobj", "nsubjpass"})


def chunker_for(nlp: Language, name: str) -> Chunker:
    """The strategy of that name for a pipeline. Raises ConfigError when the pipeline lacks what it needs."""
    if name == "noun_chunks":
        return _noun_chunks(nlp)
    simple: dict[str, Chunker] = {"pos_grammar": pos_chunks, "ngrams": ngrams, "given": lambda words: ()}
    if name not in simple:
        raise ConfigError(f"phrases.chunker is {name!r}; expected one of {', '.join(NAMES)}")
    return simple[name]


def _noun_chunks(nlp: Language) -> Chunker:
    if "groundswell_tagger" in nlp.pipe_names:
        return LexiconGrammar(nlp.vocab)
    if "parser" in nlp.pipe_names:
        labels = set(nlp.get_pipe("parser").labels)  # type: ignore[attr-defined]
        return universal_chunks if nlp.lang == "en" and not labels & _CLEAR_NLP else clear_chunks
    raise ConfigError(
        f"phrases.chunker noun_chunks needs a parser and the pipeline has {nlp.pipe_names}; "
        "choose another model, `pipeline: bundled` or `chunker: pos_grammar`"
    )
