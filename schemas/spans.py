"""Spans of captions: half-open, in Unicode code points of the stored caption.

Python strings index by code point, so `caption[begin:end]` is the definition. This module checks spans and converts
them for languages that count in other units.
"""

from __future__ import annotations


def check_span(caption: str, begin: int, end: int, text: str) -> None:
    """Raise ValueError unless `caption[begin:end] == text`."""
    if not (0 <= begin < end <= len(caption)) or caption[begin:end] != text:
        found = caption[max(begin, 0) : end]
        raise ValueError(
            f"span [{begin}, {end}) of a caption of {len(caption)} code points is {found!r}, not {text!r}"
        )


def utf16_offset(caption: str, offset: int) -> int:
    """Convert an offset from code points to UTF-16 code units, as JavaScript counts."""
    return len(caption[:offset].encode("utf-16-le", "surrogatepass")) // 2
