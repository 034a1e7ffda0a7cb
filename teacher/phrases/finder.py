"""The phrase finder that the engine uses: captions in, `FoundPhrases` out, by any spaCy pipeline.

Promise: `caption[begin:end] == text` in code points, and batches give what single captions give.
"""

from __future__ import annotations

from collections.abc import Sequence

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

from schemas.errors import ConfigError
from schemas.labeler import FoundPhrases
from schemas.records import DroppedPhrase, Phrase
from teacher.phrases.bounded_tokenizer import BoundedTokenizer
from teacher.phrases.component import DROPPED, PHRASES
from teacher.phrases.digest import finder_digest, model_folder
from teacher.settings import PhraseSettings

_NOT_NEEDED = ("ner", "textcat", "entity_linker", "entity_ruler")


class SpacyPhraseFinder:
    """Finds phrases by the pipeline that the settings name."""

    def __init__(self, settings: PhraseSettings) -> None:
        self.nlp = load_pipeline(settings)
        self.digest = finder_digest(settings)

    def find(self, captions: Sequence[str]) -> list[FoundPhrases]:
        """One result per caption, in order; a repeated caption is analysed once."""
        distinct = list(dict.fromkeys(captions))
        found = dict(zip(distinct, map(_found, self.nlp.pipe(map(_lowered_if_shouted, distinct)), distinct)))
        return [found[caption] for caption in captions]


def load_pipeline(settings: PhraseSettings) -> Language:
    """The spaCy pipeline with `groundswell_phrases` at its end. Raises NotFound for a model that is not installed."""
    if settings.pipeline == "bundled":
        nlp = spacy.blank("en")
        nlp.add_pipe("groundswell_tagger", config={"extra_nouns": list(settings.extra_nouns)})
    else:
        nlp = _installed_model(settings)
    config = {
        "chunker": settings.chunker,
        "stop_heads": list(settings.stop_heads),
        "keep_heads": list(settings.keep_heads),
    }
    nlp.add_pipe("groundswell_phrases", config=config, last=True)
    nlp.tokenizer = BoundedTokenizer(nlp.tokenizer)
    return nlp


def _lowered_if_shouted(caption: str) -> str:
    """Lower case where 60 % of the cased letters are capitals, character by character: offsets must not move."""
    cased = [character for character in caption if character.lower() != character.upper()]
    if len(cased) < 4 or sum(character.isupper() for character in cased) < 0.6 * len(cased):
        return caption
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in caption)


def _found(doc: Doc, caption: str) -> FoundPhrases:
    return FoundPhrases(
        phrases=tuple(_phrase(span, caption) for span in doc.spans[PHRASES]),
        dropped=tuple(_dropped(span, caption) for span in doc.spans[DROPPED]),
    )


def _phrase(span: Span, caption: str) -> Phrase:
    begin, end = span.start_char, span.end_char
    return Phrase(begin=begin, end=end, text=caption[begin:end], root=span.id_, kind=span.label_)


def _dropped(span: Span, caption: str) -> DroppedPhrase:
    begin, end = span.start_char, span.end_char
    return DroppedPhrase(begin=begin, end=end, text=caption[begin:end], code=span.label_)


def _installed_model(settings: PhraseSettings) -> Language:
    if settings.extra_nouns:
        raise ConfigError(
            f"phrases.extra_nouns works with `pipeline: bundled`, not with {settings.pipeline!r}"
        )
    return spacy.load(model_folder(settings.pipeline), exclude=list(_NOT_NEEDED))
