"""The known chunkers. `phrases.chunker` names one.

To add one, write a file in this folder that defines `ENTRY`, a `ChunkerEntry`. A package adds one by the entry-point
group `groundswell.chunkers`. A configuration may also name `module:ENTRY`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.registry import Registry
from teacher.phrases.text.token_lists import Chunk, Words

if TYPE_CHECKING:
    from spacy.language import Language

    from schemas.records import PhraseKind

Chunker = Callable[[Words], Iterable[Chunk]]
"""Returns chunks in order of their start. `teacher.phrases.judge` decides which of them are asked for."""


@dataclass(frozen=True)
class ChunkerEntry:
    """A chunker, and how phrases that it finds are recorded."""

    description: str
    """One clause for help texts and the documentation."""
    make: Callable[[Language], Chunker]
    """Make the chunker for a pipeline. Raises ConfigError if the pipeline lacks what it needs."""
    kind: PhraseKind = "chunk"
    """`kind` of the phrases."""
    version: int = 1
    """Raise it if the same caption gives other chunks. It is part of the digest of phrases, except for 1."""
    uses_parse: bool = True
    """False: the pipeline's parser is switched off, which is faster."""
    uses_text: bool = True
    """False: only spans of the input are phrases, so no caption is tagged."""


CHUNKERS = Registry(
    __package__,
    ChunkerEntry,
    noun="chunker",
    group="groundswell.chunkers",
    setting="phrases.chunker",
)
