"""How well phrases match hand-bracketed captions (`[groundable]`, `{not groundable}`): F1 with bootstrap intervals.

Promise: brackets are read into spans of the caption without them, so that gold and phrases are in one frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.labeler import FoundPhrases, PhraseFinder

Span = tuple[int, int]
Spans = list[frozenset[Span]]
NOT_BRACKETED = frozenset({"PH_PRONOUN", "PH_JUNK", "PH_LANGUAGE"})
"""Reasons of dropped phrases that the gold does not bracket."""
DRAWS, SEED = 2000, 0


@dataclass(frozen=True)
class BracketedCaption:
    """A caption without its brackets, and the spans they held."""

    text: str
    base: frozenset[Span]
    groundable: frozenset[Span]


@dataclass(frozen=True)
class F1:
    """An F1, its precision and recall, and the middle 95 % of F1 over captions drawn anew; all 0..1."""

    f1: float
    low: float
    high: float
    precision: float
    recall: float


def read_bracketed(path: Path) -> list[BracketedCaption]:
    """The captions of a gold file, one a line."""
    return [parse_bracketed(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def parse_bracketed(line: str) -> BracketedCaption:
    """One line of gold; brackets do not nest."""
    text, base, groundable = "", set(), set()
    for piece in re.split(r"(\[[^\]]*\]|\{[^}]*\})", line.rstrip("\n")):
        bracketed = piece[:1] in ("[", "{") and piece[:1] != ""
        words = piece[1:-1] if bracketed else piece
        if bracketed:
            span = (len(text), len(text) + len(words))
            base.add(span)
            if piece[0] == "[":
                groundable.add(span)
        text += words
    return BracketedCaption(text, frozenset(base), frozenset(groundable))


def scores(finder: PhraseFinder, gold: list[BracketedCaption]) -> dict[str, F1]:
    """`exact` and `head` over all base phrases, `groundable` (exact) over those to ask for."""
    results = finder.find([caption.text for caption in gold])
    base, asked = [caption.base for caption in gold], [caption.groundable for caption in gold]
    found_base, found_asked = [_base(found) for found in results], [_asked(found) for found in results]
    return {
        "exact": f1(base, found_base),
        "head": f1(_ends(base), _ends(found_base)),
        "groundable": f1(asked, found_asked),
    }


def f1(gold: Spans, found: Spans) -> F1:
    """F1 of spans over all captions. Two captions' equal spans are different things."""
    counts = np.array([[len(a & b), len(a), len(b)] for a, b in zip(gold, found, strict=True)], dtype=float)
    generator = np.random.default_rng(SEED)
    draws = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=DRAWS)
    drawn = _f1_of(draws @ counts)
    right, wanted, given = counts.sum(0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return F1(
        float(_f1_of(counts.sum(0))), float(low), float(high), right / max(given, 1), right / max(wanted, 1)
    )


def _f1_of(counts: np.ndarray) -> np.ndarray:
    """counts [..., 3]: right, gold, found."""
    return 2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1)


def _ends(spans: Spans) -> Spans:
    """Two spans agree on the head when they end at the same place."""
    return [frozenset((0, end) for _, end in one) for one in spans]


def _asked(found: FoundPhrases) -> frozenset[Span]:
    spans = [(p.begin, p.end) for p in found.phrases if p.kind != "expression"]
    return frozenset((begin, end) for begin, end in spans if begin is not None and end is not None)


def _base(found: FoundPhrases) -> frozenset[Span]:
    """Base phrases asked for or dropped."""
    return _asked(found) | {(d.begin, d.end) for d in found.dropped if d.code not in NOT_BRACKETED}
