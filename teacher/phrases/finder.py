"""The phrase finder that the engine uses: captions in, `FoundPhrases` out, by any spaCy pipeline.

Promise: `caption[begin:end] == text` in code points, and batches give what single captions give.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import spacy
from spacy.language import Language
from spacy.symbols import NORM, ORTH
from spacy.tokens import Doc

from schemas.errors import ConfigError
from schemas.labeler import FoundPhrases, Spans
from schemas.records import DroppedPhrase, Phrase
from schemas.spans import check_span
from teacher.phrases import bundled, rules
from teacher.phrases.caption_cache import CaptionCache
from teacher.phrases.component import rules_for
from teacher.phrases.digest import finder_digest, model_folder
from teacher.phrases.gc_pause import collector_paused
from teacher.phrases.text.bounded_tokenizer import BoundedTokenizer
from teacher.phrases.text.language import is_english
from teacher.phrases.text.normalize import Normalised, normalised
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
PARTED_ENDINGS = {"'m": "am", "'ve": "have", "'re": "are", "'ll": "will", "'d": "'d"}
"""Of captions whose words were parted by a tokenizer (`i 'm`): spaCy would cut them at the apostrophe."""


class SpacyPhraseFinder:
    """Finds phrases by the pipeline that the settings name."""

    takes_given = True

    def __init__(self, settings: PhraseSettings) -> None:
        self.settings = settings
        self.nlp = load_pipeline(settings)
        self.rules = rules_for(
            self.nlp,
            settings.chunker,
            stop_heads=settings.stop_heads,
            keep_heads=settings.keep_heads,
            expressions=settings.expressions,
            partitives=settings.partitives,
        )
        self.digest = finder_digest(settings)
        self._cache: CaptionCache[FoundPhrases] = CaptionCache()
        self._other: SpacyPhraseFinder | None = None

    def find(self, captions: Sequence[str], given: Sequence[Spans] | None = None) -> list[FoundPhrases]:
        """One result per caption, in order; a repeated caption is analysed once.

        given: for each caption, spans [begin, end) that are phrases because the input says so. Raises ValueError for
        a span that is empty or leaves its caption.
        """
        found = self._cache.filled(captions, self._analysed)
        if given is None or not any(given):
            return found
        return [
            self._with_given(caption, result, spans)
            for caption, result, spans in zip(captions, found, given, strict=True)
        ]

    def forget(self) -> None:
        """Empty the cache of captions."""
        self._cache = CaptionCache()

    def _analysed(self, captions: list[str]) -> list[FoundPhrases]:
        """What the pipeline makes of distinct captions, or the policy for other languages of those it cannot read."""
        if self.settings.language == "off" or self.nlp.lang != "en":
            return self._read(captions)
        strange = [caption for caption in captions if not is_english(caption)]
        if not strange:
            return self._read(captions)
        answers = dict(zip(strange, self._not_english(strange)))
        english = [caption for caption in captions if caption not in answers]
        answers.update(zip(english, self._read(english)))
        return [answers[caption] for caption in captions]

    def _read(self, captions: list[str]) -> list[FoundPhrases]:
        if self.settings.chunker == "given":
            return [FoundPhrases(()) for _ in captions]
        found: list[FoundPhrases] = []
        for first in range(0, len(captions), _CAPTIONS_AT_ONCE):
            with collector_paused():
                found += self._read_some(captions[first : first + _CAPTIONS_AT_ONCE])
        return found

    def _read_some(self, captions: list[str]) -> list[FoundPhrases]:
        plain = [normalised(caption) for caption in captions]
        docs = self.nlp.pipe((item.text for item in plain), batch_size=BATCH_CAPTIONS)
        return [self._found(doc, *pair) for doc, pair in zip(docs, zip(plain, captions))]

    def _found(self, doc: Doc, plain: Normalised, caption: str) -> FoundPhrases:
        phrases, dropped = [], []
        for _, _, first, stop, root, kind, code in self.rules(doc):
            begin, end = plain.original(first, stop)
            text = caption[begin:end]
            if code is None:
                phrases.append(Phrase(begin=begin, end=end, text=text, root=root, kind=kind))  # type: ignore[arg-type]
            else:
                dropped.append(DroppedPhrase(begin=begin, end=end, text=text, code=code))
        return FoundPhrases(tuple(phrases), tuple(dropped))

    def _not_english(self, captions: list[str]) -> list[FoundPhrases]:
        if self.settings.language in ("skip", "given"):
            return [FoundPhrases((), _whole(caption)) for caption in captions]
        if self._other is None:
            other = {"pipeline": self.settings.language, "language": "off"}
            self._other = SpacyPhraseFinder(self.settings.model_copy(update=other))
        return self._other.find(captions)

    def _with_given(self, caption: str, found: FoundPhrases, spans: Spans) -> FoundPhrases:
        """Given phrases first, without those found again at the same place; blanks and invisible marks are none."""
        for begin, end in spans:
            check_span(caption, begin, end, caption[max(begin, 0) : end])
        if not spans or (self.settings.language == "skip" and not self._reads(caption)):
            return found
        plain = normalised(caption)
        places = {span: _place(plain, *span) for span in spans}
        named = {span: place for span, place in places.items() if place is not None}
        blank = [span for span in places if span not in named]
        roots = rules.given(self.nlp(plain.text), list(named.values()))
        kept = [phrase for phrase in found.phrases if (phrase.begin, phrase.end) not in places]
        return FoundPhrases(
            (*(_given(caption, span, item.root) for span, item in zip(named, roots)), *kept),
            (*found.dropped, *(_junk(caption, span) for span in blank)),
        )

    def _reads(self, caption: str) -> bool:
        return self.nlp.lang != "en" or is_english(caption)


def load_pipeline(settings: PhraseSettings) -> Language:
    """The spaCy pipeline that tags and parses, components that phrases do not need left out.

    Raises NotFoundError for a model that is not installed, RuntimeEnvironmentError for a bundled one that was changed.
    """
    if settings.pipeline == "bundled":
        nlp = bundled.load()
    elif settings.pipeline == "lexicon":
        nlp = spacy.blank("en")
        nlp.add_pipe("groundswell_tagger", config={"extra_nouns": list(settings.extra_nouns)})
    else:
        nlp = spacy.load(model_folder(settings.pipeline), exclude=list(NOT_NEEDED))
    if settings.extra_nouns and settings.pipeline != "lexicon":
        raise ConfigError(
            f"phrases.extra_nouns works with `pipeline: lexicon`, not with {settings.pipeline!r}"
        )
    if settings.chunker == "pos_grammar" and "parser" in nlp.pipe_names:
        nlp.disable_pipe("parser")
    if nlp.lang == "en":
        for ending, norm in PARTED_ENDINGS.items():
            nlp.tokenizer.add_special_case(ending, [{ORTH: ending, NORM: norm}])
    nlp.tokenizer = BoundedTokenizer(nlp.tokenizer)
    return nlp


def _place(plain: Normalised, begin: int, end: int) -> tuple[int, int] | None:
    """Where the caption's span stands in the text that was read, without blanks around it; None for nothing read."""
    if plain.places is not None:
        begin, end = bisect_left(plain.places, begin), bisect_left(plain.places, end)
    text = plain.text[begin:end]
    begin += len(text) - len(text.lstrip())
    return (begin, begin + len(text.strip())) if text.strip() else None


def _given(caption: str, span: tuple[int, int], root: str) -> Phrase:
    begin, end = span
    return Phrase(begin=begin, end=end, text=caption[begin:end], root=root, kind="given")


def _junk(caption: str, span: tuple[int, int]) -> DroppedPhrase:
    begin, end = span
    return DroppedPhrase(begin=begin, end=end, text=caption[begin:end], code="PH_JUNK")


def _whole(caption: str) -> tuple[DroppedPhrase, ...]:
    text = caption.strip()
    begin = caption.index(text)
    if not text:
        return ()
    return (DroppedPhrase(begin=begin, end=begin + len(text), text=text, code="PH_LANGUAGE"),)
