"""Prints how well phrases match hand-bracketed captions: `[groundable]`, `{not groundable}`.

python -m teacher.phrases.score gold_cc.txt
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from schemas.labeler import FoundPhrases
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

Span = tuple[int, int]


@dataclass(frozen=True)
class BracketedCaption:
    """A caption without its brackets, and the spans they held."""

    text: str
    base: frozenset[Span]
    groundable: frozenset[Span]


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


def f1(gold: list[frozenset[Span]], found: list[frozenset[Span]], *, heads_only: bool = False) -> float:
    """F1 over all captions; with `heads_only` two spans agree when they end at the same place."""
    if heads_only:
        gold, found = ([frozenset((0, end) for _, end in spans) for spans in side] for side in (gold, found))
    right = sum(len(a & b) for a, b in zip(gold, found))
    total = sum(map(len, gold)) + sum(map(len, found))
    return 2 * right / total if total else 1.0


def scores(finder: SpacyPhraseFinder, gold: list[BracketedCaption]) -> dict[str, float]:
    """Exact and head F1 over all base phrases, exact F1 over the groundable ones."""
    results = finder.find([caption.text for caption in gold])
    base, asked = [caption.base for caption in gold], [caption.groundable for caption in gold]
    return {
        "exact": f1(base, [_base(found) for found in results]),
        "head": f1(base, [_base(found) for found in results], heads_only=True),
        "groundable": f1(asked, [_asked(found) for found in results]),
    }


def _asked(found: FoundPhrases) -> frozenset[Span]:
    return frozenset((p.begin, p.end) for p in found.phrases if p.begin is not None and p.end is not None)


def _base(found: FoundPhrases) -> frozenset[Span]:
    """Base phrases asked for or dropped; the gold brackets no pronouns."""
    named = (drop for drop in found.dropped if drop.code not in {"PH_PRONOUN", "PH_JUNK"})
    return _asked(found) | {(drop.begin, drop.end) for drop in named}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gold", type=Path)
    parser.add_argument("--pipeline", default="bundled")
    parser.add_argument("--chunker", default="noun_chunks")
    arguments = parser.parse_args()
    finder = SpacyPhraseFinder(PhraseSettings(pipeline=arguments.pipeline, chunker=arguments.chunker))
    gold = [parse_bracketed(line) for line in arguments.gold.read_text(encoding="utf-8").splitlines() if line]
    for name, value in scores(finder, gold).items():
        print(f"{name:10s} F1 {100 * value:5.1f}  over {len(gold)} captions")


if __name__ == "__main__":
    main()
