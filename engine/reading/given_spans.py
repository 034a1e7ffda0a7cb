"""Spans of phrases that an input gives beside a caption, read strictly.

Promise: every span that is passed on is a stretch of the stored caption with a letter or digit in it, each once.
"""

from __future__ import annotations

from typing import Any

from engine.reading.captions import StoredCaption
from schemas.errors import SampleRejectedError
from schemas.labeler import Spans

MAX_SPANS = 256
CODE = "SPANS_BAD"


def parse_spans(value: Any, caption: StoredCaption) -> Spans:
    """The spans [begin, end) in `[[begin, end], ...]`, code points of the caption, in the order given; null is none.

    A span of a caption that was cut is left out where it reaches beyond the cut.
    raises: SampleRejectedError SPANS_BAD for anything else, more than MAX_SPANS spans, or one that leaves its caption
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise SampleRejectedError(CODE, f"{type(value).__name__}, expected a list of [begin, end]")
    if len(value) > MAX_SPANS:
        raise SampleRejectedError(CODE, f"{len(value)} spans, at most {MAX_SPANS}")
    stored = len(caption.text)
    spans = dict.fromkeys(_span(item, caption.cut_from or stored) for item in value)
    kept = tuple(span for span in spans if span[1] <= stored)
    for begin, end in kept:
        if not any(map(str.isalnum, caption.text[begin:end])):
            raise SampleRejectedError(CODE, f"[{begin}, {end}) holds no letter or digit")
    return kept


def _span(item: Any, length: int) -> tuple[int, int]:
    if not isinstance(item, list) or len(item) != 2 or any(type(place) is not int for place in item):
        raise SampleRejectedError(CODE, f"{str(item)[:80]} is no [begin, end] of two whole numbers")
    begin, end = item
    if not 0 <= begin < end <= length:
        raise SampleRejectedError(
            CODE, f"[{begin}, {end}) is no stretch of a caption of {length} code points"
        )
    return begin, end
