"""Normalize a caption for tagging, and map positions back to the caption.

Runs of white space become one blank, line ends become full stops, invisible marks are removed, captions in capitals or
title case become lower case, typographic apostrophes become plain ones. `original_span(begin, end)` is a span of the
caption as given, with exactly the characters of `text[begin:end]`. No text makes it raise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Zero-width and direction marks, soft hyphens and the byte-order mark. Not the joiner, which builds emoji.
_INVISIBLE = "\u00ad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_UNUSUAL = re.compile(rf"[{_INVISIBLE}]|\s{{2,}}|[^\S ]")
_LINE_END = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
_CAPITAL_SHARE, _TITLE_SHARE = 0.6, 0.8
_MIN_CASED, _MIN_WORDS = 4, 4


class NormalizedCaption(NamedTuple):
    """`text` for the tagger. `positions[i]` is the index in the caption of its character i, None if all are equal."""

    text: str
    positions: list[int] | None = None

    def original_span(self, begin: int, end: int) -> tuple[int, int]:
        """Return the caption's span of `text[begin:end]`, half-open, in code points."""
        if self.positions is None:
            return begin, end
        return self.positions[begin], self.positions[end - 1] + 1


def normalize(caption: str) -> NormalizedCaption:
    """Return the caption as a pipeline should see it."""
    text, positions = caption, None
    plain = caption.isascii() and caption.isprintable() and "  " not in caption and "`" not in caption
    if not plain:  # nearly all captions are plain, and the search is slower
        text, positions = _collapse(caption) if _UNUSUAL.search(caption) else (caption, None)
        text = text.translate(_APOSTROPHES)
    return NormalizedCaption(text if text.islower() else _lower_if_case_is_uniform(text), positions)


def _collapse(caption: str) -> tuple[str, list[int]]:
    """Return the text with white space and marks replaced, and the index in the caption of each character."""
    pieces: list[str] = []
    positions: list[int] = []
    done = 0
    for match in _UNUSUAL.finditer(caption):
        pieces.append(caption[done : match.start()])
        positions.extend(range(done, match.start()))
        replacement = _replace(match.group())
        pieces.append(replacement)
        positions.extend([match.start()] * len(replacement))
        done = match.end()
    pieces.append(caption[done:])
    positions.extend(range(done, len(caption)))
    return "".join(pieces), positions


def _replace(run: str) -> str:
    if not run.isspace():
        return ""
    return " . " if _LINE_END.search(run) else " "


def _lower_if_case_is_uniform(text: str) -> str:
    """Lower-case a text of capitals or title case, character by character, so that no position moves."""
    if not (_is_in_capitals(text) or _is_in_title_case(text)):
        return text
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _is_in_capitals(text: str) -> bool:
    capitals = sum(map(str.isupper, text))
    small = sum(map(str.islower, text))
    return capitals + small >= _MIN_CASED and capitals >= _CAPITAL_SHARE * (capitals + small)


def _is_in_title_case(text: str) -> bool:
    words = [word for word in text.split() if word[0].isalpha()]
    capitalized = sum(word[0].isupper() for word in words)
    return len(words) >= _MIN_WORDS and capitalized >= _TITLE_SHARE * len(words)
