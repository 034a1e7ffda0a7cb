"""Score phrases on hand-bracketed captions (`[groundable]`, `{not groundable}`): F1 with bootstrap intervals.

Brackets become spans of the caption without brackets, so gold and phrases have the same positions.
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
"""Codes of dropped phrases that are not bracketed in the gold."""
DRAWS, SEED = 2000, 0


@dataclass(frozen=True)
class BracketedCaption:
    """A caption without its brackets, and the bracketed spans."""

    text: str
    base: frozenset[Span]
    groundable: frozenset[Span]


@dataclass(frozen=True)
class F1:
    """F1, precision and recall, and the middle 95 % of F1 over captions drawn with replacement. All 0..1."""

    f1: float
    low: float
    high: float
    precision: float
    recall: float


def read_bracketed_captions(path: Path) -> list[BracketedCaption]:
    """Return the captions of a gold file, one per line."""
    return [
        parse_bracketed_caption(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()
    ]


def parse_bracketed_caption(line: str) -> BracketedCaption:
    """Return the caption of one line of gold. Brackets do not nest."""
    text = ""
    base: set[Span] = set()
    groundable: set[Span] = set()
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


def score_finder(finder: PhraseFinder, gold: list[BracketedCaption]) -> dict[str, F1]:
    """Return F1 as `exact` and `head` over all base phrases, and as `groundable` (exact) over those to ask for."""
    results = finder.find([caption.text for caption in gold])
    base, groundable = [caption.base for caption in gold], [caption.groundable for caption in gold]
    found_base = [_collect_base(found) for found in results]
    found_groundable = [_collect_groundable(found) for found in results]
    return {
        "exact": f1(base, found_base),
        "head": f1(_take_ends(base), _take_ends(found_base)),
        "groundable": f1(groundable, found_groundable),
    }


def f1(gold: Spans, found: Spans) -> F1:
    """Return F1 of spans over all captions. Equal spans of two captions are different things."""
    counts = np.array([[len(a & b), len(a), len(b)] for a, b in zip(gold, found, strict=True)], dtype=float)
    generator = np.random.default_rng(SEED)
    draws = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=DRAWS)
    samples = _f1_of(draws @ counts)
    right, wanted, given = counts.sum(0)
    low, high = np.quantile(samples, [0.025, 0.975])
    return F1(
        float(_f1_of(counts.sum(0))),
        float(low),
        float(high),
        float(right / max(given, 1)),
        float(right / max(wanted, 1)),
    )


def _f1_of(counts: np.ndarray) -> np.ndarray:
    """Return F1 of counts [..., 3]: correct, gold, found."""
    scores: np.ndarray = 2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1)
    return scores


def _take_ends(spans: Spans) -> Spans:
    """Return spans reduced to their end, where two spans with the same head agree."""
    return [frozenset((0, end) for _, end in one) for one in spans]


def _collect_groundable(found: FoundPhrases) -> frozenset[Span]:
    spans = [(p.begin, p.end) for p in found.phrases if p.kind != "expression"]
    return frozenset((begin, end) for begin, end in spans if begin is not None and end is not None)


def _collect_base(found: FoundPhrases) -> frozenset[Span]:
    """Return the spans of base phrases, those to ask for and those dropped."""
    return _collect_groundable(found) | {
        (d.begin, d.end) for d in found.dropped if d.code not in NOT_BRACKETED
    }
