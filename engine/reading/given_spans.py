"""Read the spans of phrases that an input contains for a caption.

Every returned span is inside the stored caption, has a letter or digit, and occurs once.
"""

from __future__ import annotations

from pydantic import JsonValue

from engine.reading.captions import StoredCaption
from schemas.errors import SampleRejectedError
from schemas.labeler import Spans

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
MAX_SPANS = 256
CODE = "SPANS_BAD"


def parse_spans(value: JsonValue, caption: StoredCaption) -> Spans:
    """Parse `[[begin, end], ...]` into spans [begin, end) in code points of the caption, in the given order.

    Null means no spans. If the caption was cut, spans that end after the cut are left out.
    raises: SampleRejectedError SPANS_BAD for any other value, for more than MAX_SPANS spans, and for a span outside its
            caption
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise SampleRejectedError(CODE, f"{type(value).__name__}, expected a list of [begin, end]")
    if len(value) > MAX_SPANS:
        raise SampleRejectedError(CODE, f"{len(value)} spans, at most {MAX_SPANS}")
    stored = len(caption.text)
    spans = dict.fromkeys(_parse_span(item, caption.cut_from or stored) for item in value)
    kept = tuple(span for span in spans if span[1] <= stored)
    for begin, end in kept:
        if not any(map(str.isalnum, caption.text[begin:end])):
            raise SampleRejectedError(CODE, f"[{begin}, {end}) holds no letter or digit")
    return kept


def _parse_span(item: JsonValue, length: int) -> tuple[int, int]:
    begin, end = item if isinstance(item, list) and len(item) == 2 else (None, None)
    if type(begin) is not int or type(end) is not int:
        raise SampleRejectedError(CODE, f"{str(item)[:80]} is no [begin, end] of two whole numbers")
    if not 0 <= begin < end <= length:
        raise SampleRejectedError(
            CODE, f"[{begin}, {end}) is no stretch of a caption of {length} code points"
        )
    return begin, end
