"""Train the bundled pipeline: CoNLL-U treebanks in, a spaCy directory out, scores on stdout.

    python -m teacher.phrases.training.train --treebanks DIR --to DIR [--captions gold_cc.txt]

DIR has `*_train.conllu[.xz]` to train on, `*_dev` and `*_test` to score on. One thread and fixed seeds: the same
inputs, versions and processor type give the same weights.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = (
    "1"  # before numpy loads: with more threads, results vary
)

import argparse
import json
import random
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import cast

from spacy.language import Language
from thinc.api import Adam, Optimizer, fix_random_seed
from thinc.schedules import warmup_linear
from thinc.types import Generator

from teacher.phrases.training.augment import copy_sentence, make_caption_like
from teacher.phrases.training.examples import group_sentences, make_batches, make_example
from teacher.phrases.training.pipeline import make_pipeline, round_all_weights, write_pipeline
from teacher.phrases.training.treebank import Sentence, read_sentences
from teacher.phrases.training.word_forms import WordForms, collect_word_forms

EPOCHS = 14
WORDS_PER_BATCH = 800
CAPTION_LIKE_SHARE = 0.75
LEARN_RATE = 0.002
DROPOUT = 0.1
SEED = 17


def train(sentences: list[Sentence], epochs: int = EPOCHS) -> Language:
    """Return a pipeline trained for `epochs` rounds. Each round draws new changes of the sentences."""
    fix_random_seed(SEED)
    forms = collect_word_forms(sentences)
    nlp = make_pipeline(sentences)
    nlp.initialize(lambda: [make_example(nlp, [copy_sentence(s)]) for s in sentences])
    steps = epochs * (sum(map(len, sentences)) // WORDS_PER_BATCH)
    rates = cast(Generator, warmup_linear(LEARN_RATE, 200, steps))
    optimizer: Optimizer = Adam(rates, L2=0.01, grad_clip=1.0, use_averages=True)
    for epoch in range(epochs):
        began = time.monotonic()
        losses = _train_round(nlp, sentences, forms, optimizer, random.Random(f"{SEED}/{epoch}"))
        spent = time.monotonic() - began
        print(
            f"round {epoch + 1}/{epochs}: {spent:.0f} s, {_format_losses(losses)}",
            file=sys.stderr,
            flush=True,
        )
    _use_averages(nlp, optimizer)
    round_all_weights(nlp)
    return nlp


def score(nlp: Language, files: list[Path]) -> dict[str, dict[str, float]]:
    """Return tag accuracy, UAS and LAS (without punctuation) of each file, by sentence, in percent."""
    results = {}
    for path in files:
        scores = nlp.evaluate([make_example(nlp, [sentence]) for sentence in read_sentences(path)])
        names = {"tags": "tag_acc", "UAS": "dep_uas", "LAS": "dep_las"}
        results[path.name.partition(".")[0]] = {
            ours: round(100 * scores[name], 2) for ours, name in names.items()
        }
    return results


def _train_round(
    nlp: Language, sentences: list[Sentence], forms: WordForms, optimizer: Optimizer, draw: random.Random
) -> dict[str, float]:
    changed = [
        make_caption_like(sentence, forms, draw)
        if draw.random() < CAPTION_LIKE_SHARE
        else copy_sentence(sentence)
        for sentence in sentences
    ]
    examples = [make_example(nlp, group) for group in group_sentences(changed, draw)]
    draw.shuffle(examples)
    losses: dict[str, float] = {}
    for batch in make_batches(examples, WORDS_PER_BATCH):
        nlp.update(batch, sgd=optimizer, drop=DROPOUT, losses=losses)
        optimizer.step_schedules()
    return losses


def _use_averages(nlp: Language, optimizer: Optimizer) -> None:
    with nlp.use_params(optimizer.averages):
        averaged = nlp.to_bytes()
    nlp.from_bytes(averaged)


def _format_losses(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} loss {loss:.0f}" for name, loss in sorted(losses.items()) if loss)


def _score_phrases(model: Path, captions: Path) -> dict[str, dict[str, float]]:
    from teacher.phrases.finder import SpacyPhraseFinder
    from teacher.phrases.training.score import read_bracketed_captions, score_finder
    from teacher.settings import PhraseSettings

    finder = SpacyPhraseFinder(PhraseSettings(pipeline=str(model)))
    return {
        name: asdict(value) for name, value in score_finder(finder, read_bracketed_captions(captions)).items()
    }


def _list_files(folder: Path, part: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if f"_{part}.conllu" in path.name)


def main() -> None:
    """Run the command of the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--treebanks", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--captions", type=Path, help="hand-bracketed captions, for phrase F1")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    training = [s for path in _list_files(arguments.treebanks, "train") for s in read_sentences(path)]
    nlp = train(training, arguments.epochs)
    scores = score(nlp, [*_list_files(arguments.treebanks, "dev"), *_list_files(arguments.treebanks, "test")])
    write_pipeline(nlp, arguments.to, {**scores, "spacy": version("spacy"), "epochs": arguments.epochs})
    print(json.dumps(scores, indent=1))
    if arguments.captions:
        print(json.dumps(_score_phrases(arguments.to, arguments.captions), indent=1))


if __name__ == "__main__":
    main()
