"""Bound the time of spaCy's tokenizer, which is quadratic in the length of a run without blanks.

The document's text stays the text that was given. Text without such runs is tokenized exactly as by spaCy.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from spacy.tokens import Doc

_MAX_RUN = 100
_LONG = re.compile(rf"\S{{{_MAX_RUN},}}")


class BoundedTokenizer:
    """Cut runs of more than a hundred characters without a blank, then tokenize."""

    def __init__(self, tokenizer: Callable[[str], Doc]) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Doc:
        if len(text) < _MAX_RUN:
            return self._tokenizer(text)
        cuts = [
            place
            for match in _LONG.finditer(text)
            for place in (*range(match.start(), match.end(), _MAX_RUN), match.end())
        ]
        if not cuts:
            return self._tokenizer(text)
        borders = sorted({0, *cuts, len(text)})
        pieces = [self._tokenizer(text[begin:end]) for begin, end in zip(borders, borders[1:])]
        return Doc.from_docs(pieces, ensure_whitespace=False)
