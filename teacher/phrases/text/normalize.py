"""A caption made easy to read for a tagger, with the way back: every character knows where it came from.

Runs of white space become one blank, line ends full stops, invisible marks nothing, shouted or Titled words lower
case, typographic apostrophes plain ones. Promise: `original(begin, end)` is a span of the caption as given that holds
exactly the characters of `text[begin:end]`, and no text makes it raise.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Zero-width and direction marks, soft hyphens and the byte-order mark; not the joiner, which builds emoji.
_INVISIBLE = "\u00ad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_UNUSUAL = re.compile(rf"[{_INVISIBLE}]|\s{{2,}}|[^\S ]")
_LINE_END = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
_SHOUTED_SHARE, _TITLED_SHARE = 0.6, 0.8
_MIN_CASED, _MIN_WORDS = 4, 4


class Normalised(NamedTuple):
    """`text` to be read; `places[i]` is where its character i stands in the caption, None where nothing moved."""

    text: str
    places: list[int] | None = None

    def original(self, begin: int, end: int) -> tuple[int, int]:
        """The caption's span of `text[begin:end]`, half-open, in code points."""
        if self.places is None:
            return begin, end
        return self.places[begin], self.places[end - 1] + 1


def normalised(caption: str) -> Normalised:
    """The caption to be read by a pipeline."""
    text, places = caption, None
    plain = caption.isascii() and caption.isprintable() and "  " not in caption and "`" not in caption
    if not plain:  # told first, because nearly all captions are: the search is slower
        text, places = _evened(caption) if _UNUSUAL.search(caption) else (caption, None)
        text = text.translate(_APOSTROPHES)
    return Normalised(text if text.islower() else _lowered_where_case_says_nothing(text), places)


def _evened(caption: str) -> tuple[str, list[int]]:
    pieces: list[str] = []
    places: list[int] = []
    done = 0
    for match in _UNUSUAL.finditer(caption):
        pieces.append(caption[done : match.start()])
        places.extend(range(done, match.start()))
        instead = _instead_of(match.group())
        pieces.append(instead)
        places.extend([match.start()] * len(instead))
        done = match.end()
    pieces.append(caption[done:])
    places.extend(range(done, len(caption)))
    return "".join(pieces), places


def _instead_of(run: str) -> str:
    if not run.isspace():
        return ""
    return " . " if _LINE_END.search(run) else " "


def _lowered_where_case_says_nothing(text: str) -> str:
    """Lower case where most letters or first letters are capitals, character by character: nothing may move."""
    if not (_is_shouted(text) or _is_titled(text)):
        return text
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _is_shouted(text: str) -> bool:
    capitals = sum(map(str.isupper, text))
    small = sum(map(str.islower, text))
    return capitals + small >= _MIN_CASED and capitals >= _SHOUTED_SHARE * (capitals + small)


def _is_titled(text: str) -> bool:
    words = [word for word in text.split() if word[0].isalpha()]
    titled = sum(word[0].isupper() for word in words)
    return len(words) >= _MIN_WORDS and titled >= _TITLED_SHARE * len(words)
