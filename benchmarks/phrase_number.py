"""How often the number of a phrase is found correctly: our rule beside "a final s is a plural", on gold morphology.

    python -m benchmarks.phrase_number --treebanks DIR [--list 20]

Phrases are those that the bundled pipeline finds in the treebanks' sentences, with the roots that it gives, as evidence
has them. Gold is the Penn tag of the word that ends the phrase's base: NNS and NNPS are plural. A treebank says nothing
of stuffs, so "mass" counts as not plural here. Two sets: the development halves, at which the rule was written, and
PUD, which it never saw. The interval is the middle 95 % over phrases drawn anew.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.inputs import existing_folder
from pipelines.terminal.table import format_table
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.phrases.judge.number import phrase_number
from teacher.phrases.training.treebank import Sentence, join_words, read_sentences
from teacher.settings import PhraseSettings

SETS = {"EWT dev": "ewt_dev", "GUM dev": "gumfree_dev", "PUD test": "pud_test"}
PLURAL = frozenset({"NNS", "NNPS"})
DRAWS, SEED = 2000, 0

Case = tuple[str, str, bool]  # text, root, whether gold says plural


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per treebank and rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--treebanks",
        type=existing_folder(f"a folder with {', '.join(f'{file}.conllu.xz' for file in SETS.values())}"),
        required=True,
    )
    parser.add_argument(
        "--list", type=int, default=0, help="print so many mistakes of the rule, by frequency"
    )
    options = parser.parse_args(arguments)
    finder = SpacyPhraseFinder(PhraseSettings())
    rows, wrong = [], Counter[str]()
    for name, file in SETS.items():
        cases = list(phrases_with_gold(finder, options.treebanks / f"{file}.conllu.xz"))
        for rule, is_plural in (("ours", _ours), ("final s", _final_s)):
            rows.append([name, rule, *_score(cases, is_plural)])
        wrong.update(f"{text} ({root})" for text, root, plural in cases if _ours(text, root) != plural)
    print(format_table(rows, ["treebank", "rule", "phrases", "plural", "right", "precision", "recall"]))
    for text, number in wrong.most_common(options.list):
        print(number, text)


def phrases_with_gold(finder: SpacyPhraseFinder, path: Path) -> Iterator[Case]:
    """Phrases found in the sentences of a treebank, where the phrase ends in a noun of the treebank."""
    sentences = list(read_sentences(path))
    for sentence, found in zip(sentences, finder.find([join_words(s) for s in sentences]), strict=True):
        ends = _noun_ends(sentence)
        for phrase in found.phrases:
            if phrase.end in ends:
                yield phrase.text, phrase.root, ends[phrase.end]


def _noun_ends(sentence: Sentence) -> dict[int, bool]:
    """Where each noun ends in the sentence's text, and whether it is a plural."""
    ends, at = {}, 0
    for word in sentence:
        at += len(word.form)
        if word.tag.startswith("NN"):
            ends[at] = word.tag in PLURAL
        at += word.space_after
    return ends


def _ours(text: str, root: str) -> bool:
    return phrase_number(text, root) == "plural"


def _final_s(text: str, root: str) -> bool:
    return text.lower().endswith("s")


def _score(cases: Sequence[Case], is_plural: Callable[[str, str], bool]) -> list[str]:
    pairs = np.array([(plural, is_plural(text, root)) for text, root, plural in cases])
    gold, said = pairs[:, 0], pairs[:, 1]
    right = gold == said
    drawn = np.random.default_rng(SEED).binomial(len(right), right.mean(), DRAWS) / len(right)
    low, high = np.quantile(drawn, [0.025, 0.975])
    both = (gold & said).sum()
    shares = [f"{100 * right.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"]
    shares += [f"{100 * both / max(total, 1):.1f}" for total in (said.sum(), gold.sum())]
    return [str(len(cases)), str(int(gold.sum())), *shares]


if __name__ == "__main__":
    main()
