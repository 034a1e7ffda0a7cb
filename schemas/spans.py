"""Spans of captions: half-open, counted in Unicode code points of the stored caption.

Python strings index by code point, so `caption[begin:end]` is the definition; this module checks it and converts
for languages that count otherwise.
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
    """The same place counted in UTF-16 code units, as JavaScript counts."""
    return len(caption[:offset].encode("utf-16-le", "surrogatepass")) // 2
