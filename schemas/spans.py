"""Captions: the spans of phrases, and the form of a caption that lists its phrases.

Spans are half-open, in Unicode code points of the stored caption. Python strings index by code point, so
`caption[begin:end]` is the definition. A detection prompt lists names, "cat. dog. traffic light", as GLIP writes them.
The import of gold writes such captions, and training and evaluation recognize them, so both sides must agree.
"""

from __future__ import annotations

from collections.abc import Iterable

PROMPT_SEPARATOR = ". "


def is_detection_caption(caption: str, texts: Iterable[str]) -> bool:
    """Return whether a caption is the list of its phrases, so that its row is a detection row.

    texts: of all phrases of the row, in order
    """
    return caption == PROMPT_SEPARATOR.join(texts)


def check_span(caption: str, begin: int, end: int, text: str) -> None:
    """Raise ValueError unless `caption[begin:end] == text`."""
    if not (0 <= begin < end <= len(caption)) or caption[begin:end] != text:
        found = caption[max(begin, 0) : end]
        raise ValueError(
            f"span [{begin}, {end}) of a caption of {len(caption)} code points is {found!r}, not {text!r}"
        )
