"""No chunker at all: phrases are the spans that come with the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teacher.phrases.chunkers.registry import Chunker, ChunkerEntry

if TYPE_CHECKING:
    from spacy.language import Language


def make_given(nlp: Language) -> Chunker:
    """Return a chunker that finds nothing."""
    return lambda words: ()


ENTRY = ChunkerEntry(
    description="only spans that come with the input",
    make=make_given,
    uses_text=False,
)
