"""The engine's phrase finder: captions in, `FoundPhrases` out, by any spaCy pipeline.

`caption[begin:end] == text` in code points. Batches give the same phrases as single captions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import cast

import spacy
from spacy.language import Language
from spacy.symbols import NORM, ORTH
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc

from schemas.errors import ConfigError
from schemas.labeler import FoundPhrases, Spans
from schemas.records import DroppedPhrase, Phrase
from schemas.spans import check_span
from teacher.phrases import rules
from teacher.phrases.bundled import load_bundled
from teacher.phrases.caption_cache import CaptionCache
from teacher.phrases.chunkers.registry import CHUNKERS
from teacher.phrases.component import make_rules
from teacher.phrases.digest import LANGUAGE_POLICIES, find_model_folder, finder_digest
from teacher.phrases.gc_pause import pause_gc
from teacher.phrases.text.bounded_tokenizer import BoundedTokenizer
from teacher.phrases.text.language import is_english
from teacher.phrases.text.normalize import NormalizedCaption, normalize
from teacher.settings import PhraseSettings

NOT_NEEDED = (
    "ner",
    "textcat",
    "textcat_multilabel",
    "entity_linker",
    "entity_ruler",
    "span_ruler",
    "spancat",
)
BATCH_CAPTIONS = 256
_CAPTIONS_AT_ONCE = 4 * BATCH_CAPTIONS
SPLIT_ENDINGS = {"'m": "am", "'ve": "have", "'re": "are", "'ll": "will", "'d": "'d"}
"""Endings in captions that a tokenizer split (`i 'm`). spaCy would split them again at the apostrophe."""


class SpacyPhraseFinder:
    """Find phrases by the pipeline that the settings name."""

    takes_given = True

    def __init__(self, settings: PhraseSettings) -> None:
        self.settings = settings
        self.nlp = load_pipeline(settings)
        self.rules = make_rules(
            self.nlp,
            settings.chunker,
            stop_heads=settings.stop_heads,
            keep_heads=settings.keep_heads,
            expressions=settings.expressions,
            partitives=settings.partitives,
        )
        self.digest = finder_digest(settings)
        self._uses_text = CHUNKERS.load(settings.chunker).uses_text
        self._cache: CaptionCache[FoundPhrases] = CaptionCache()
        self._foreign_finder = self._make_foreign_finder()

    def find(self, captions: Sequence[str], given: Sequence[Spans] | None = None) -> list[FoundPhrases]:
        """Return one result per caption, in order. A repeated caption is analyzed once.

        given: spans [begin, end) of each caption that the input names as phrases. Raises ValueError for a span that is
               empty or outside its caption.
        """
        found = self._cache.get_or_make(captions, self._find_distinct)
        if given is None or not any(given):
            return found
        return [
            self._add_given(caption, result, spans)
            for caption, result, spans in zip(captions, found, given, strict=True)
        ]

    def clear_cache(self) -> None:
        """Forget the results of all captions."""
        self._cache = CaptionCache()

    def _find_distinct(self, captions: list[str]) -> list[FoundPhrases]:
        """Return results of distinct captions. Those that the pipeline cannot read are treated by `language`."""
        if self.settings.language == "off" or self.nlp.lang != "en":
            return self._read(captions)
        foreign = [caption for caption in captions if not is_english(caption)]
        if not foreign:
            return self._read(captions)
        answers = dict(zip(foreign, self._find_foreign(foreign)))
        english = [caption for caption in captions if caption not in answers]
        answers.update(zip(english, self._read(english)))
        return [answers[caption] for caption in captions]

    def _read(self, captions: list[str]) -> list[FoundPhrases]:
        if not self._uses_text:
            return [FoundPhrases(()) for _ in captions]
        found: list[FoundPhrases] = []
        for first in range(0, len(captions), _CAPTIONS_AT_ONCE):
            with pause_gc():
                found += self._read_some(captions[first : first + _CAPTIONS_AT_ONCE])
        return found

    def _read_some(self, captions: list[str]) -> list[FoundPhrases]:
        plain = [normalize(caption) for caption in captions]
        docs = self.nlp.pipe((item.text for item in plain), batch_size=BATCH_CAPTIONS)
        return [self._collect(doc, *pair) for doc, pair in zip(docs, zip(plain, captions))]

    def _collect(self, doc: Doc, plain: NormalizedCaption, caption: str) -> FoundPhrases:
        phrases, dropped = [], []
        for _, _, first, stop, root, kind, code in self.rules(doc):
            begin, end = plain.original_span(first, stop)
            text = caption[begin:end]
            if code is None:
                phrases.append(Phrase(begin=begin, end=end, text=text, root=root, kind=kind))
            else:
                dropped.append(DroppedPhrase(begin=begin, end=end, text=text, code=code))
        return FoundPhrases(tuple(phrases), tuple(dropped))

    def _find_foreign(self, captions: list[str]) -> list[FoundPhrases]:
        if self._foreign_finder is None:
            return [FoundPhrases((), _drop_whole(caption)) for caption in captions]
        return self._foreign_finder.find(captions)

    def _make_foreign_finder(self) -> SpacyPhraseFinder | None:
        """Return the finder that reads captions of another language, None if no model is named for them."""
        language = self.settings.language
        if language in LANGUAGE_POLICIES or self.nlp.lang != "en":
            return None
        other: dict[str, object] = {"pipeline": language, "language": "off"}
        if language != "lexicon":
            other["extra_nouns"] = ()
        return SpacyPhraseFinder(self.settings.model_copy(update=other))

    def _add_given(self, caption: str, found: FoundPhrases, spans: Spans) -> FoundPhrases:
        """Put given phrases first, and remove found ones with the same span. Spans without visible text are junk."""
        for begin, end in spans:
            check_span(caption, begin, end, caption[max(begin, 0) : end])
        if not spans or (self.settings.language == "skip" and not self._can_read(caption)):
            return found
        plain = normalize(caption)
        ranges = {span: _find_in_text(plain, *span) for span in spans}
        visible = {span: place for span, place in ranges.items() if place is not None}
        blank = [span for span in ranges if span not in visible]
        located = rules.locate_given(self.nlp(plain.text), list(visible.values()))
        others = [phrase for phrase in found.phrases if (phrase.begin, phrase.end) not in ranges]
        return FoundPhrases(
            (*(_make_given(caption, span, item.root) for span, item in zip(visible, located)), *others),
            (*found.dropped, *(_make_junk(caption, span) for span in blank)),
        )

    def _can_read(self, caption: str) -> bool:
        return self.nlp.lang != "en" or is_english(caption)


def load_pipeline(settings: PhraseSettings) -> Language:
    """Load the spaCy pipeline that tags and parses, without components that phrases do not need.

    Raises NotFoundError for a model that is not installed, RuntimeEnvironmentError if the bundled one was changed.
    """
    if settings.pipeline == "bundled":
        nlp = load_bundled()
    elif settings.pipeline == "lexicon":
        nlp = spacy.blank("en")
        nlp.add_pipe("groundswell_tagger", config={"extra_nouns": list(settings.extra_nouns)})
    else:
        nlp = spacy.load(find_model_folder(settings.pipeline), exclude=list(NOT_NEEDED))
    if settings.extra_nouns and settings.pipeline != "lexicon":
        raise ConfigError(
            f"phrases.extra_nouns works with `pipeline: lexicon`, not with {settings.pipeline!r}; leave it out"
        )
    if not CHUNKERS.load(settings.chunker).uses_parse and "parser" in nlp.pipe_names:
        nlp.disable_pipe("parser")
    if nlp.lang == "en":
        for ending, norm in SPLIT_ENDINGS.items():
            cast(Tokenizer, nlp.tokenizer).add_special_case(ending, [{ORTH: ending, NORM: norm}])
    nlp.tokenizer = BoundedTokenizer(nlp.tokenizer)
    return nlp


def _find_in_text(plain: NormalizedCaption, begin: int, end: int) -> tuple[int, int] | None:
    """Return the caption's span in the normalized text, without blanks around it, None if nothing is left of it."""
    if plain.positions is not None:
        begin, end = bisect_left(plain.positions, begin), bisect_left(plain.positions, end)
    text = plain.text[begin:end]
    begin += len(text) - len(text.lstrip())
    return (begin, begin + len(text.strip())) if text.strip() else None


def _make_given(caption: str, span: tuple[int, int], root: str) -> Phrase:
    begin, end = span
    return Phrase(begin=begin, end=end, text=caption[begin:end], root=root, kind="given")


def _make_junk(caption: str, span: tuple[int, int]) -> DroppedPhrase:
    begin, end = span
    return DroppedPhrase(begin=begin, end=end, text=caption[begin:end], code="PH_JUNK")


def _drop_whole(caption: str) -> tuple[DroppedPhrase, ...]:
    text = caption.strip()
    begin = caption.index(text)
    if not text:
        return ()
    return (DroppedPhrase(begin=begin, end=begin + len(text), text=text, code="PH_LANGUAGE"),)
