"""Phrases for the captions of a unit, in one go.

Promise: a caption that breaks the finder costs its own sample alone, and every span that passes is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import GroundswellError, SampleRejected
from schemas.labeler import FoundPhrases, PhraseFinder
from schemas.spans import check_span


def find_phrases(finder: PhraseFinder, captions: Sequence[str]) -> list[FoundPhrases | SampleRejected]:
    """Phrases of each caption, in one go; where that raises, caption by caption, so that an error costs one."""
    if not captions:
        return []
    try:
        found: list[FoundPhrases | SampleRejected] = [*finder.find(captions)]
    except GroundswellError:
        raise
    except Exception as error:
        if len(captions) == 1:
            return [SampleRejected("TEACHER_ERROR", f"phrases: {type(error).__name__}: {error}")]
        return [result for caption in captions for result in find_phrases(finder, [caption])]
    return [_span_checked(caption, result) for caption, result in zip(captions, found, strict=True)]


def _span_checked(caption: str, found: FoundPhrases | SampleRejected) -> FoundPhrases | SampleRejected:
    if isinstance(found, SampleRejected):
        return found
    try:
        for phrase in found.phrases:
            if phrase.begin is not None and phrase.end is not None:
                check_span(caption, phrase.begin, phrase.end, phrase.text)
        for dropped in found.dropped:
            check_span(caption, dropped.begin, dropped.end, dropped.text)
    except ValueError as error:
        return SampleRejected("TEACHER_ERROR", f"phrases: {error}")
    return found
