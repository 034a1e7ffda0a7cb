"""Negatives by concept: what an image may hold is never drawn as absent, in every kind of prompt."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.world import lexicon
from student.data.example_source import MemorySource
from student.data.examples import ExamplePhrase, TrainingExample
from student.data.order import WholeOrder
from student.data.streams import Stream
from student.prompts.caption_packing import pack_captions
from student.prompts.phrase_lists import make_hard_phrase_list
from student.prompts.training_prompt import (
    TokenBudget,
    draw_absent_nouns,
    make_caption_prompt,
    make_detection_prompt,
    make_presence_test,
    make_relation_test,
)
from student.settings.streams import CaptionPacking, PromptMix, StreamSettings
from student.settings.train import HardNegatives
from teacher.nouns.class_relations import ClassRelations
from teacher.nouns.concepts import PresentNouns
from tests.mutations import Mutation

WIDE = TokenBudget(10_000, lambda text: len(text.split()))
NO_RELATIONS = ClassRelations()
NOUNS = (
    "boy", "child", "person", "people", "dog", "puppy", "animal", "cat", "car", "vehicle", "truck", "table",
    "dining table", "lamp", "tree", "kite", "boat", "ship", "apple", "fruit", "hat", "wheel",
)  # fmt: skip
DETECTION = PromptMix(detection=1, phrase_list=0, caption=0)
MUTATIONS = (
    Mutation(
        "student/prompts/training_prompt.py",
        "has_word(noun) or is_related(noun)",
        "has_word(noun)",
        "test_no_prompt_asks_for_what_may_be_true_of_its_boxes",
    ),
    Mutation(
        "student/prompts/training_prompt.py",
        "{*example.maybe_there, *(phrase",
        "{*(phrase",
        "test_nouns_near_a_decoy_that_the_teacher_found_are_not_drawn",
    ),
    Mutation(
        "student/prompts/training_prompt.py",
        "nouns |= find_likely_nouns(example.caption)",
        "pass",
        "test_nouns_near_a_word_of_the_caption_are_not_drawn",
    ),
    Mutation(
        "student/prompts/training_prompt.py",
        ' if phrase.fate != "absent")}',
        ")}",
        "test_what_is_known_to_be_absent_excludes_nothing_else",
    ),
    Mutation(
        "student/prompts/phrase_lists.py",
        "if may_contradict(other):",
        "if True:",
        "test_a_phrase_list_exchanges_no_noun_for_a_broader_one",
    ),
    Mutation(
        "student/prompts/phrase_lists.py",
        "noun in own or not is_related(noun)",
        "not is_related(noun)",
        "test_a_phrase_list_still_exchanges_the_nouns_of_an_image",
    ),
)


def example(caption: str, *nouns: str, fate: str = "positive") -> TrainingExample:
    phrases = tuple(
        ExamplePhrase(
            caption.index(n), caption.index(n) + len(n), n, n, fate, (i,) if fate == "positive" else ()
        )
        for i, n in enumerate(nouns)
    )
    ones = np.ones(len(nouns), np.float32)
    boxes = np.zeros((len(nouns), 4), np.float32)
    return TrainingExample("x", {}, caption, caption, phrases, boxes, ones, ones)


def stream(
    *examples: TrainingExample,
    relations: ClassRelations | None = NO_RELATIONS,
    exhaustive: bool = False,
    nouns: tuple[str, ...] = NOUNS,
) -> Stream:
    settings = StreamSettings(
        url="x", share=1.0, prompts=DETECTION, packing=CaptionPacking(most=9, none=0, full=1)
    )
    order = WholeOrder(np.arange(len(examples)), "d")
    counts = dict.fromkeys(nouns, 3)
    return Stream(
        settings, "d", "v", exhaustive, MemorySource(examples), order, counts, {}, relations=relations
    )


def draw_all(of: Stream, one: TrainingExample, number: int = 99) -> set[str]:
    return set(draw_absent_nouns(np.random.default_rng(0), of, one, number))


@given(
    st.lists(st.sampled_from(NOUNS), min_size=1, max_size=4, unique=True), st.integers(0, 99), st.booleans()
)
def test_no_prompt_asks_for_what_may_be_true_of_its_boxes(nouns: list[str], seed: int, gold: bool) -> None:
    one = example("a " + " and a ".join(nouns), *nouns)

    prompt = make_detection_prompt(np.random.default_rng(seed), stream(one, exhaustive=gold), one, 15, WIDE)

    asked = {prompt.text[span.begin : span.end] for span in prompt.spans if not span.boxes}
    assert not {
        noun for noun in asked for own in nouns if PresentNouns([own], ClassRelations()).may_mean(noun)
    }
    assert {prompt.text[span.begin : span.end] for span in prompt.spans if span.boxes} == set(nouns)


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ("boy", {"boy", "child", "person", "people"}),
        ("puppy", {"puppy", "dog", "animal"}),
        ("ship", {"ship", "boat", "vehicle"}),
        ("table", {"table", "dining table"}),
        ("lamp", {"lamp"}),
        ("kite", {"kite", "animal"}),  # a bird, too
    ],
)
@pytest.mark.parametrize("gold", [False, True])
def test_of_all_other_nouns_each_is_drawn(present: str, missing: set[str], gold: bool) -> None:
    one = example(f"a {present}", present)

    assert draw_all(stream(one, exhaustive=gold), one) == set(NOUNS) - missing


def test_the_rule_of_earlier_versions_compares_words() -> None:
    one = example("a boy", "boy")

    assert draw_all(stream(one, relations=None), one) == set(NOUNS) - {"boy"}


def test_nouns_near_a_word_of_the_caption_are_not_drawn() -> None:
    """The poodle is no phrase with a box, and may be in the image nevertheless."""
    one = example("a kite over poodles", "kite")

    assert set(NOUNS) - draw_all(stream(one), one) == {"kite", "dog", "puppy", "animal"}


def test_the_caption_of_exhaustive_gold_excludes_nothing() -> None:
    """It may list every category."""
    one = example("lamp. dog. boat", "lamp")

    assert draw_all(stream(one, exhaustive=True), one) == set(NOUNS) - {"lamp"}


@pytest.mark.parametrize("fate", ["positive", "unresolved"])
def test_nouns_near_an_unresolved_phrase_are_not_drawn(fate: str) -> None:
    one = example("a ship", "ship", fate=fate)

    assert not {"boat", "vehicle"} & draw_all(stream(one, exhaustive=True), one)


def test_what_is_known_to_be_absent_excludes_nothing_else() -> None:
    one = example("a ship", "ship", fate="absent")

    assert draw_all(stream(one, exhaustive=True), one) == set(NOUNS) - {"ship"}


def test_nouns_near_a_decoy_that_the_teacher_found_are_not_drawn() -> None:
    one = replace(example("a kite", "kite"), maybe_there=("poodle",))

    assert set(NOUNS) - draw_all(stream(one), one) == {"kite", "dog", "puppy", "animal"}


def test_gold_names_related_classes_that_no_table_knows() -> None:
    names = ("sku 1", "sku 2", "blister pack")
    own = ClassRelations.from_pairs([("sku 1", "blister pack"), ("sku 2", "blister pack")])
    one = example("a sku 1", "sku 1")

    assert draw_all(stream(one, relations=own, nouns=names), one) == {"sku 2"}


def test_a_small_vocabulary_gives_fewer_negatives_rather_than_wrong_ones() -> None:
    one = example("a boy", "boy")

    assert draw_all(stream(one, nouns=("boy", "child", "girl", "man", "kite")), one, 4) == {"kite"}


def test_a_noun_that_is_true_of_everything_is_drawn_for_no_image() -> None:
    one = example("a kite", "kite")

    assert draw_all(stream(one, nouns=("object", "thing", "item", "lamp")), one) == {"lamp"}


def test_a_packed_noun_that_may_be_in_the_image_is_masked() -> None:
    own, other = example("a boy", "boy"), example("a child and a kite", "child", "kite")
    view = stream(own, other)

    prompt = pack_captions(np.random.default_rng(1), view, 0, own, make_caption_prompt(own), WIDE)

    masked = {prompt.text[span.begin : span.end] for span in prompt.spans if span.masked}
    assert other.caption in prompt.text and masked == {"child"}


OTHER_NOUN = HardNegatives(
    attributes=(("red", "blue"),),
    other_noun=1.0,
    other_attribute=0,
    unknown_noun=0,
    unknown_negative=0,
    drop_attribute=0,
)


def phrase_list(text: str, noun: str, nouns: tuple[str, ...], *others: str) -> set[str]:
    one = example(f"{text} and {' and '.join(others)}", text, *others)
    phrases = tuple(replace(p, root=p.text.split()[-1]) for p in one.phrases)
    one = replace(one, phrases=phrases)
    is_related = make_relation_test(stream(one, exhaustive=True), one)
    return {
        entry.words
        for seed in range(20)
        for entry in make_hard_phrase_list(
            np.random.default_rng(seed), one.phrases, nouns, OTHER_NOUN, "[UNK]", is_related
        )
        if not entry.boxes
    }


def test_a_phrase_list_exchanges_no_noun_for_a_broader_one() -> None:
    assert phrase_list("red car", "car", ("vehicle", "automobile", "kite")) == {"red kite"}


def test_a_phrase_list_still_exchanges_the_nouns_of_an_image() -> None:
    """A red car and a blue kite: nothing is a red kite."""
    assert phrase_list("red car", "car", ("kite",), "blue kite") == {"red kite"}


def test_a_draw_depends_on_seed_and_content_alone() -> None:
    one = example("a boy and a dog", "boy", "dog")
    first, second = stream(one), pickle.loads(pickle.dumps(stream(one, relations=ClassRelations({}))))  # noqa: S301

    for seed in range(20):
        draws = [draw_absent_nouns(np.random.default_rng(seed), of, one, 5) for of in (first, second)]
        assert draws[0] == draws[1] and len(draws[0]) == 5


@given(st.sampled_from(NOUNS), st.sampled_from(NOUNS))
def test_what_the_earlier_rule_excludes_stays_excluded(present: str, asked: str) -> None:
    one = example(f"a {present} in the park", present)
    before = make_presence_test(stream(one, relations=None), one)

    assert make_presence_test(stream(one), one)(asked) >= before(asked)


def test_both_rules_draw_the_same_on_the_tiny_world() -> None:
    """So the trainings of demo and headline have the batches that they had."""
    phrases = [f"{lexicon.choose_article(noun)} {noun}" for noun in lexicon.NOUNS]
    colors = [f"a striped {color} {noun}" for color in lexicon.COLOURS for noun in lexicon.NOUNS]
    noise = [f"{before} a star {after}" for before in lexicon.PREFIXES for after in lexicon.SUFFIXES]
    joined = [f"a star {joiner} a fish" for joiner in (*lexicon.JOINERS, lexicon.LEFT_OF, lexicon.RIGHT_OF)]
    for caption in (*phrases, *colors, *noise, *joined):
        own = [noun for noun in lexicon.NOUNS if noun in caption.split()]
        one = example(caption, *own)
        before, now = (
            make_presence_test(stream(one, relations=rule, nouns=lexicon.NOUNS), one)
            for rule in (None, NO_RELATIONS)
        )
        assert list(map(before, lexicon.NOUNS)) == list(map(now, lexicon.NOUNS)), caption
