"""Probe nouns: a run that learns from a view with decoys never draws one as absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.decoys import is_probe_noun
from student.data.example_source import MemorySource
from student.data.examples import ExamplePhrase, TrainingExample, make_example
from student.data.order import WholeOrder
from student.data.streams import Stream, exclude_probe_nouns
from student.prompts.caption_packing import pack_captions
from student.prompts.phrase_lists import make_hard_phrase_list
from student.prompts.training_prompt import TokenBudget, draw_absent_nouns, make_caption_prompt
from student.settings.streams import CaptionPacking, StreamSettings
from student.settings.train import HardNegatives

NOUNS = ("bee", "boat", "cat", "dog", "kite", "lamp", "tree")
PROBES = {noun for noun in NOUNS if is_probe_noun(noun)}
WIDE = TokenBudget(10_000, lambda text: len(text.split()))


def example(caption: str, *nouns: str) -> TrainingExample:
    phrases = tuple(
        ExamplePhrase(caption.index(n), caption.index(n) + len(n), n, n, "positive", (i,))
        for i, n in enumerate(nouns)
    )
    ones = np.ones(len(nouns), np.float32)
    return TrainingExample(
        "x", {}, caption, caption, phrases, np.zeros((len(nouns), 4), np.float32), ones, ones
    )


OWN, OTHER = example("a dog", "dog"), example("a kite and a lamp", "kite", "lamp")


def stream(has_decoys: bool = False) -> Stream:
    settings = StreamSettings(url="x", share=1.0, packing=CaptionPacking(most=9, none=0, full=1))
    counts = dict.fromkeys(NOUNS, 3)
    order = WholeOrder(np.arange(2), "d")
    return Stream(
        settings, "d", "v", False, MemorySource((OWN, OTHER)), order, counts, {}, has_decoys=has_decoys
    )


def drawn(of: Stream) -> set[str]:
    rng = np.random.default_rng(0)
    return {noun for _ in range(40) for noun in draw_absent_nouns(rng, of, OWN, 3)}


@pytest.mark.parametrize(
    ("when", "decoys", "excluded"),
    [("auto", True, True), ("auto", False, False), ("excluded", False, True), ("asked", True, False)],
)
def test_probe_nouns_are_drawn_unless_the_run_keeps_them_for_probing(when, decoys, excluded) -> None:
    gold, view = exclude_probe_nouns([stream(), stream(decoys)], when)

    others = set(NOUNS) - {"dog"}
    assert PROBES and drawn(gold) == drawn(view) == (others - PROBES if excluded else others)


def test_a_decoy_that_the_teacher_found_is_never_drawn_as_absent() -> None:
    row = {
        **dict.fromkeys(("unit", "key", "image_sha256"), "x"),
        "pixels": {},
        "caption": "a dog",
        "regions": [],
        "phrases": [
            {"begin": None, "end": None, "text": n, "root": n, "kind": "decoy", "fate": fate}
            for n, fate in (("kite", "unresolved"), ("lamp", "absent"))
        ],
    }
    rng = np.random.default_rng(0)

    found = {noun for _ in range(40) for noun in draw_absent_nouns(rng, stream(), make_example(row), 3)}

    assert found == set(NOUNS) - {"dog", "kite"}


def test_a_name_whose_head_is_a_probe_noun_is_not_drawn_either() -> None:
    names = {"toy kite": 3, "fire boat": 3, "lamp": 3}
    assert is_probe_noun("kite") and not any(map(is_probe_noun, names))

    [one] = exclude_probe_nouns([replace(stream(True), root_counts=names)], "auto")

    assert drawn(one) == {"fire boat", "lamp"}


def test_a_run_without_decoys_draws_what_it_drew() -> None:
    one = stream()

    assert exclude_probe_nouns([one], "auto") == [one]


def test_a_phrase_list_without_a_noun_to_draw_has_no_such_negative() -> None:
    hard = HardNegatives(other_noun=1.0, unknown_noun=0, drop_attribute=0)
    red_dog = replace(OWN.phrases[0], text="a red dog")

    entries = make_hard_phrase_list(np.random.default_rng(0), [red_dog], [], hard, "[UNK]")

    assert [words for words, *_ in entries] == ["red dog"]


def test_a_packed_probe_noun_is_masked_rather_than_taught_as_absent() -> None:
    [view] = exclude_probe_nouns([stream(has_decoys=True)], "auto")

    prompt = pack_captions(np.random.default_rng(1), view, 0, OWN, make_caption_prompt(OWN), WIDE)

    masked = {prompt.text[span.begin : span.end] for span in prompt.spans if span.masked}
    assert OTHER.caption in prompt.text and masked == {"kite"}
