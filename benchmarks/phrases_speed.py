"""How fast phrases are found: captions per second of one core, beside bare `nlp.pipe` of the same pipeline.

    python -m benchmarks.phrases_speed --captions captions.txt            # what `make bench-phrases` runs

Every row reads the same distinct captions in one process and one thread, in turns, `--rounds` times; the fastest turn
counts, because other work on the machine only ever slows one. The share is of the bare pipeline above it. The cache
of repeated captions is empty in every turn.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy loads

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.inputs import existing_file
from pipelines.terminal.table import format_table
from teacher.phrases.finder import BATCH_CAPTIONS, SpacyPhraseFinder
from teacher.settings import PhraseSettings

FINDERS: dict[str, dict[str, Any]] = {
    "bundled, noun chunks": {"pipeline": "bundled"},
    "bundled, with expressions": {"pipeline": "bundled", "expressions": True},
    "tagger only, GLIP's grammar": {"pipeline": "bundled", "chunker": "pos_grammar"},
    "lexicon": {"pipeline": "lexicon"},
}
BARE = {
    "bare nlp.pipe, tagger and parser": "bundled, noun chunks",
    "bare nlp.pipe, tagger only": "tagger only, GLIP's grammar",
}
BESIDE = {
    "bundled, noun chunks": "bare nlp.pipe, tagger and parser",
    "bundled, with expressions": "bare nlp.pipe, tagger and parser",
    "tagger only, GLIP's grammar": "bare nlp.pipe, tagger only",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print captions per second of each row."""
    options = _options(arguments)
    captions = list(dict.fromkeys(options.captions.read_text(encoding="utf-8").split("\n")))[: options.n]
    rates = measure(captions, options.rounds)
    if options.json:
        print(json.dumps({"captions": len(captions), "per_second": rates}))
        return
    words = sum(len(caption.split()) for caption in captions) / len(captions)
    rows = [[name, f"{rate:.0f}", _share(name, rates)] for name, rate in rates.items()]
    print(format_table(rows, [f"{len(captions)} captions of {words:.1f} words", "captions/s", "of bare"]))


def measure(captions: list[str], rounds: int) -> dict[str, float]:
    """Captions per CPU second of each row, the fastest of `rounds` turns."""
    ways = _ways()
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            way(captions)
            best[name] = min(best[name], time.process_time() - began)
    return {name: len(captions) / seconds for name, seconds in best.items()}


def _ways() -> dict[str, Callable[[list[str]], object]]:
    finders = {name: SpacyPhraseFinder(PhraseSettings(**row)) for name, row in FINDERS.items()}
    bare = {name: _bare(finders[source]) for name, source in BARE.items()}
    return bare | {name: _cold(finder) for name, finder in finders.items()}


def _bare(finder: SpacyPhraseFinder) -> Callable[[list[str]], object]:
    nlp = finder.nlp
    return lambda captions: sum(1 for _ in nlp.pipe(captions, batch_size=BATCH_CAPTIONS))


def _cold(finder: SpacyPhraseFinder) -> Callable[[list[str]], object]:
    def find(captions: list[str]) -> object:
        finder.clear_cache()
        return finder.find(captions)

    return find


def _share(name: str, rates: dict[str, float]) -> str:
    return f"{rates[name] / rates[BESIDE[name]]:.2f}" if name in BESIDE else ""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--captions",
        type=existing_file("a UTF-8 file, one caption a line (make bench-phrases CAPTIONS=FILE)"),
        required=True,
        help="a UTF-8 file, one caption a line",
    )
    parser.add_argument("--n", type=int, default=4000, help="at most so many distinct captions")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
