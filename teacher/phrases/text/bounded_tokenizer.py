"""spaCy's tokenizer, kept from growing slow: its work on a stretch without blanks is quadratic in its length.

Promise: the document's text is the text given, and text without such stretches is tokenised exactly as before.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from spacy.tokens import Doc

_MAX_STRETCH = 100
_LONG = re.compile(rf"\S{{{_MAX_STRETCH},}}")


class BoundedTokenizer:
    """Cuts stretches of more than a hundred characters without a blank before it tokenises."""

    def __init__(self, tokenizer: Callable[[str], Doc]) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Doc:
        if len(text) < _MAX_STRETCH:
            return self._tokenizer(text)
        cuts = [
            place
            for match in _LONG.finditer(text)
            for place in (*range(match.start(), match.end(), _MAX_STRETCH), match.end())
        ]
        if not cuts:
            return self._tokenizer(text)
        borders = sorted({0, *cuts, len(text)})
        pieces = [self._tokenizer(text[begin:end]) for begin, end in zip(borders, borders[1:])]
        return Doc.from_docs(pieces, ensure_whitespace=False)
