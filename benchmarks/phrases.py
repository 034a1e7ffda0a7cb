"""How well phrases are found: F1 against hand-bracketed captions, ours beside GLIP's grammar.

    python -m benchmarks.phrases --gold gold_cc.txt [--pipeline en_core_web_sm]

Rows: the bundled pipeline; the bundled tags under GLIP's grammar `DT? JJ* NN+`; the lexicon tagger under both; a
further pipeline if named. Columns: exact spans and heads over all base phrases, exact spans over those asked for; the
interval is the middle 95 % over captions drawn anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.inputs import existing_file
from pipelines.terminal.table import format_table
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.phrases.training.score import F1, read_bracketed_captions, score_finder
from teacher.settings import PhraseSettings

ROWS = {
    "bundled, noun chunks": {"pipeline": "bundled"},
    "bundled tags, GLIP's grammar": {"pipeline": "bundled", "chunker": "pos_grammar"},
    "lexicon, its grammar": {"pipeline": "lexicon"},
    "lexicon, GLIP's grammar": {"pipeline": "lexicon", "chunker": "pos_grammar"},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per way of finding phrases, or one JSON object."""
    options = _options(arguments)
    gold = read_bracketed_captions(options.gold)
    rows = ROWS | ({options.pipeline: {"pipeline": options.pipeline}} if options.pipeline else {})
    found = {name: score_finder(SpacyPhraseFinder(PhraseSettings(**row)), gold) for name, row in rows.items()}
    if options.json:
        print(json.dumps({name: {k: asdict(v) for k, v in row.items()} for name, row in found.items()}))
        return
    names = ["exact", "head", "groundable"]
    lines = [
        [name, *(_cell(row[column]) for column in names), _halves(row["groundable"])]
        for name, row in found.items()
    ]
    print(format_table(lines, [f"{len(gold)} captions", *names, "groundable P / R"]))


def _cell(score: F1) -> str:
    return f"{100 * score.f1:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _halves(score: F1) -> str:
    return f"{100 * score.precision:.1f} / {100 * score.recall:.1f}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gold", type=existing_file("bracketed captions, one a line"), required=True)
    parser.add_argument("--pipeline", help="a spaCy model by name or path, beside the bundled ones")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
