"""Phrases for the captions of a unit, found in one call.

A caption that breaks the finder costs its own sample alone, and every span that is returned is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from schemas.errors import ConfigError, GroundswellError, SampleRejectedError, stored_name
from schemas.labeler import FoundPhrases, GivenPhraseFinder, PhraseFinder, Spans
from schemas.spans import check_span


def find_phrases(
    finder: PhraseFinder, captions: Sequence[str], given: Sequence[Spans] | None = None
) -> list[FoundPhrases | SampleRejectedError]:
    """Return the phrases of each caption. If the finder raises, ask caption by caption, so that an error costs one.

    given: for each caption, the spans that the input states as phrases
    """
    spans = [()] * len(captions) if given is None else given
    if not captions:
        return []
    try:
        found: list[FoundPhrases | SampleRejectedError] = [*_call(finder, captions, spans)]
    except GroundswellError:
        raise
    except Exception as error:
        if len(captions) == 1:
            return [SampleRejectedError("TEACHER_ERROR", f"phrases: {stored_name(error)}: {error}")]
        return [
            found
            for caption, own in zip(captions, spans, strict=True)
            for found in find_phrases(finder, [caption], [own])
        ]
    return [_check_spans(caption, result) for caption, result in zip(captions, found, strict=True)]


def _call(finder: PhraseFinder, captions: Sequence[str], given: Sequence[Spans]) -> list[FoundPhrases]:
    if not any(given):
        return finder.find(captions)
    if not getattr(finder, "takes_given", False):
        raise ConfigError(f"input.spans: {type(finder).__name__} takes no spans; remove input.spans")
    return cast(GivenPhraseFinder, finder).find(captions, given)


def _check_spans(
    caption: str, found: FoundPhrases | SampleRejectedError
) -> FoundPhrases | SampleRejectedError:
    if isinstance(found, SampleRejectedError):
        return found
    try:
        for phrase in found.phrases:
            if phrase.begin is not None and phrase.end is not None:
                check_span(caption, phrase.begin, phrase.end, phrase.text)
        for dropped in found.dropped:
            check_span(caption, dropped.begin, dropped.end, dropped.text)
    except ValueError as error:
        return SampleRejectedError("TEACHER_ERROR", f"phrases: {error}")
    return found
