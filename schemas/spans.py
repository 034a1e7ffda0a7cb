"""Captions: the spans of phrases, and the form of a caption that lists its phrases.

Spans are half-open, in Unicode code points of the stored caption. Python strings index by code point, so
`caption[begin:end]` is the definition. A detection prompt lists names, "cat. dog. traffic light", as GLIP writes them.
The import of gold writes such captions, and training and evaluation recognize them, so both sides must agree. A folder
without captions is asked for a fixed list of phrases, which becomes such a caption.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PROMPT_SEPARATOR = ". "
MAX_LIST_PHRASES = 256
MAX_LIST_CHARACTERS = 2_000
"""Of the list as a caption. No caption is longer."""


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


def check_phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    """Return the phrases without blanks around them. Raises ValueError for a list that cannot be a caption."""
    stripped = tuple(phrase.strip() for phrase in phrases)
    for number, phrase in enumerate(stripped, start=1):
        if not any(map(str.isalnum, phrase)):
            raise ValueError(f"phrase {number} is {phrase!r}; expected a phrase with a letter or digit")
        if not phrase.isprintable():
            raise ValueError(f"phrase {number} is {phrase!r}; expected one line without control characters")
    if twice := next((phrase for phrase in stripped if stripped.count(phrase) > 1), None):
        raise ValueError(f"phrase {twice!r} occurs twice; expected different phrases; keep one")
    characters = len(PROMPT_SEPARATOR.join(stripped))
    if len(stripped) > MAX_LIST_PHRASES or characters > MAX_LIST_CHARACTERS:
        raise ValueError(
            f"{len(stripped)} phrases of {characters} characters; expected at most {MAX_LIST_PHRASES} phrases and "
            f"{MAX_LIST_CHARACTERS} characters with {PROMPT_SEPARATOR!r} between them; make several jobs of it"
        )
    return stripped


def join_phrases(phrases: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the phrases as a caption, and the span of each in it."""
    spans: list[tuple[int, int]] = []
    begin = 0
    for phrase in phrases:
        spans.append((begin, begin + len(phrase)))
        begin += len(phrase) + len(PROMPT_SEPARATOR)
    return PROMPT_SEPARATOR.join(phrases), tuple(spans)
