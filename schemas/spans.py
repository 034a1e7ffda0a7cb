"""Spans of captions: half-open, in Unicode code points of the stored caption.

Python strings index by code point, so `caption[begin:end]` is the definition. This module checks spans.
"""

from __future__ import annotations


def check_span(caption: str, begin: int, end: int, text: str) -> None:
    """Raise ValueError unless `caption[begin:end] == text`."""
    if not (0 <= begin < end <= len(caption)) or caption[begin:end] != text:
        found = caption[max(begin, 0) : end]
        raise ValueError(
            f"span [{begin}, {end}) of a caption of {len(caption)} code points is {found!r}, not {text!r}"
        )
