"""Which nouns may be true of one box: what must never be asked as absent, and what must still be asked."""

from __future__ import annotations

import json
import time
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.world.lexicon import NOUNS as TINY_WORLD
from teacher.detectors.class_names import SYNONYMS
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.nouns.class_relations import ClassRelations
from teacher.nouns.concepts import PresentNouns, concepts_digest, describe_noun
from teacher.nouns.names import find_likely_nouns
from teacher.nouns.table import load_nouns
from teacher.phrases.text.word_set import word_set
from tests.mutations import Mutation

NONE = ClassRelations()
MUTATIONS = (
    Mutation(
        "teacher/nouns/concepts.py",
        "(self._has_people and asked.is_people)",
        "False",
        "test_no_word_for_people_is_asked_beside_another",
    ),
    Mutation(
        "teacher/nouns/concepts.py",
        "or not self._classes.isdisjoint(asked.coco_classes)",
        "",
        "test_words_of_one_class_of_a_detector_are_one_concept",
    ),
    Mutation(
        "teacher/nouns/concepts.py",
        "or not self._alike.isdisjoint(asked.alike)",
        "",
        "test_two_names_of_one_thing_are_never_asked_beside_each_other",
    ),
    Mutation(
        "teacher/nouns/concepts.py",
        "self._broader.isdisjoint(asked.main_senses)",
        "True",
        "test_a_broader_noun_is_ruled_out_whatever_meaning_is_rare",
    ),
    Mutation(
        "teacher/nouns/concepts.py",
        "and self._main_senses.isdisjoint(_find_broader(asked.kinds))",
        "",
        "test_a_narrower_noun_is_ruled_out_whatever_meaning_is_rare",
    ),
    Mutation(
        "teacher/nouns/concepts.py",
        "return senses - (senses & table.things - people if is_people else people) or senses",
        "return senses",
        "test_a_figurative_meaning_rules_nobody_out",
    ),
    Mutation(
        "teacher/nouns/concepts.py",
        "or not self._names.isdisjoint(self._relations.find_broader(asked.heads))",
        "",
        "test_a_class_list_brings_its_own_relations",
    ),
    Mutation(
        "teacher/nouns/class_relations.py",
        "waiting += self.broader.get(name, ())",
        "pass",
        "test_relations_of_a_class_list_are_followed_to_the_end",
    ),
)


def may_mean(present: str, asked: str, relations: ClassRelations = NONE) -> bool:
    return PresentNouns([present], relations).may_mean(asked)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # the two pairs that the report on real prompts names
        ("boy", "child"), ("people", "person"),
        # number, case, article, hyphen
        ("dog", "dogs"), ("Women", "woman"), ("the dog", "a Dog"), ("knives", "knife"), ("fire-truck", "fire truck"),
        # synonyms
        ("sofa", "couch"), ("automobile", "car"), ("television", "tv"), ("bicycle", "bike"), ("stone", "rock"),
        # broader at any distance
        ("poodle", "dog"), ("poodle", "animal"), ("dog", "object"), ("pizza", "food"), ("jeep", "vehicle"),
        # heads of compounds, whether the table knows the compound or not
        ("dining table", "table"), ("dining tables", "Table"), ("toy poodle", "dog"), ("cargo bike", "bicycle"),
        # a meaning that is not the most frequent one: a plant is a factory first, a table a list, glass a material
        ("flower", "plant"), ("desk", "table"), ("goblet", "glass"), ("lake", "water"),
        # words for one thing that the table lists side by side
        ("ocean", "seas"), ("mountain", "hillside"), ("cup", "mug"),
        # classes with two names
        ("Cabinet/shelf", "shelf"), ("bow (weapon)", "bow"), ("traffic_light", "traffic lights"),
        # a word that no table knows, by its ending
        ("coworker", "man"), ("firetruck", "vehicle"),
    ],
)  # fmt: skip
def test_two_names_of_one_thing_are_never_asked_beside_each_other(one: str, other: str) -> None:
    assert may_mean(one, other) and may_mean(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog", "cat"), ("car", "truck"), ("apple", "orange"), ("dog", "horse"), ("fork", "knife"), ("bed", "chair"),
        ("coffee table", "dining table"), ("coffee-table", "dining-table"),
        ("hot dog", "cat"), ("baseball bat", "bird"), ("hat", "man"),
        ("wheel", "car"), ("face", "woman"), ("grass", "dog"), ("toaster", "person"), ("printer", "woman"),
    ],
)  # fmt: skip
def test_another_thing_is_asked(one: str, other: str) -> None:
    """Siblings are the negatives from which most is learned. Clothes and parts have boxes of their own."""
    assert not may_mean(one, other) and not may_mean(other, one)


@pytest.mark.parametrize("animal", ["dog", "cat", "horse", "bear", "chicken", "rat", "pig", "tiger"])
def test_a_figurative_meaning_rules_nobody_out(animal: str) -> None:
    """In the table a cat is also "a spiteful woman", and a dog "a man"."""
    for person in ("man", "woman", "person", "people", "child"):
        assert not may_mean(animal, person) and not may_mean(person, animal)


PEOPLE = word_set(
    """man woman boy girl child kid baby toddler person people adult player skier golfer crowd couple family team friend
    worker guitarist lady guy group bride athlete human male female pitcher model rider audience"""
)


def test_no_word_for_people_is_asked_beside_another() -> None:
    assert [pair for pair in product(PEOPLE, repeat=2) if not may_mean(*pair)] == []


@pytest.mark.parametrize("name", SYNONYMS)
def test_words_of_one_class_of_a_detector_are_one_concept(name: str) -> None:
    """Such a teacher gives both words the same boxes."""
    words = [name, *(word.replace("-", " ") for word in SYNONYMS[name].split())]

    assert [pair for pair in product(words, repeat=2) if not may_mean(*pair)] == []


def test_two_classes_of_coco_are_asked_beside_each_other_unless_one_is_the_others_head() -> None:
    """By its rare meanings a bus is an old car, and a couch a bed."""
    related = {pair for pair in combinations(COCO_CLASSES, 2) if may_mean(*pair)}

    assert related == {("dog", "hot dog"), ("bear", "teddy bear")}


def test_the_nouns_of_the_tiny_world_are_all_asked_beside_each_other() -> None:
    """So the headline's trainings draw what they drew."""
    assert [pair for pair in product(TINY_WORLD, repeat=2) if pair[0] != pair[1] and may_mean(*pair)] == []


TABLE = load_nouns()
WORDS = sorted(TABLE.may_be_asked)[::37]


def climb(senses: set[int]) -> set[int]:
    """Return synsets and all above them, by another algorithm than the code's."""
    found = set(senses)
    while more := {up for sense in found for up in TABLE.above[sense]} - found:
        found |= more
    return found


def main_sense(word: str) -> set[int]:
    return {TABLE.first_sense[word]}


@given(st.sampled_from(WORDS), st.sampled_from(WORDS))
def test_relations_go_both_ways(one: str, other: str) -> None:
    assert may_mean(one, other) == may_mean(other, one)


@given(st.sampled_from(WORDS), st.data())
def test_a_broader_noun_is_ruled_out_whatever_meaning_is_rare(word: str, data: st.DataObject) -> None:
    above = data.draw(st.sampled_from(sorted(climb(main_sense(word)))))
    names = sorted(name for name in TABLE.meanings if above in TABLE.meanings[name])[:3]

    for name in names:
        if above in describe_noun(name).senses:  # not a figurative meaning
            assert may_mean(word, name)


@given(st.sampled_from(WORDS), st.data())
def test_a_narrower_noun_is_ruled_out_whatever_meaning_is_rare(word: str, data: st.DataObject) -> None:
    above = data.draw(st.sampled_from(sorted(climb(main_sense(word)))))
    names = sorted(name for name in TABLE.meanings if above in TABLE.meanings[name])[:3]

    for name in names:
        if above in describe_noun(name).senses:
            assert may_mean(name, word)


@given(st.lists(st.sampled_from(WORDS), max_size=6), st.sampled_from(WORDS))
def test_an_image_rules_out_what_one_of_its_nouns_rules_out(present: list[str], asked: str) -> None:
    people = [noun for noun in present if describe_noun(noun).is_people]

    found = PresentNouns(present, NONE).may_mean(asked)

    alone = any(may_mean(noun, asked) for noun in present)
    assert found == alone or (found and people)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_has_an_answer(one: str, other: str) -> None:
    assert may_mean(one, other) in (True, False)
    assert may_mean(one, one) or not describe_noun(one).names


def test_nothing_is_ruled_out_without_a_noun() -> None:
    assert not PresentNouns([], NONE).may_mean("dog") and not PresentNouns(["", "  "], NONE).may_mean("dog")


def test_a_class_list_brings_its_own_relations() -> None:
    """Names that no table knows: `SKU 7` is a `tin`, and `tin` is a synonym of `canned good` in this list."""
    own = ClassRelations.from_pairs([("SKU 7", "Tin"), ("tin", "canned good"), ("canned good", "tin")])

    for one, other in (("sku 7", "tin"), ("Tins", "canned good")):
        assert may_mean(one, other, own) and may_mean(other, one, own)
    assert not may_mean("sku 7", "canned good") and not may_mean("sku 7", "sku 8", own)


def test_relations_of_a_class_list_are_followed_to_the_end() -> None:
    own = ClassRelations.from_pairs([("a1", "a2"), ("a2", "a3"), ("a3", "a1"), ("b1", "a2")])

    assert all(may_mean(one, other, own) for one, other in product(("a1", "a2", "a3"), repeat=2))
    assert may_mean("b1", "a3", own) and may_mean("a3", "b1", own)


def test_siblings_of_a_class_list_are_still_asked() -> None:
    own = ClassRelations.from_pairs([("car", "vehicle"), ("truck", "vehicle")])

    assert not may_mean("car", "truck", own)


def test_relations_are_equal_in_any_order_and_change_the_digest() -> None:
    pairs = [("car", "vehicle"), ("Truck ", "vehicle"), ("car", "machine"), ("car", "CAR"), ("", "x")]
    one, other = (ClassRelations.from_pairs(some) for some in (pairs, reversed(pairs)))

    assert one == other == ClassRelations({"car": ("machine", "vehicle"), "truck": ("vehicle",)})
    assert json.loads(json.dumps(one.broader)).keys() == one.broader.keys()
    assert concepts_digest(one) == concepts_digest(other) != concepts_digest(NONE)


def test_words_of_a_caption_count_if_they_are_most_often_nouns() -> None:
    found = find_likely_nouns("A modern man is being white-water rafting near wooden park benches.")

    assert {"man", "modern man", "water", "white water", "park", "bench", "benches", "park bench"} <= found
    assert not {"modern", "being", "white", "a", "is", "wooden"} & found


def test_an_answer_costs_less_than_decoding_an_image() -> None:
    caption = ["boy", "dog", "grass", "frisbee", "park", "fence", "tree", "ball"]
    PresentNouns(caption, NONE).may_mean("umbrella")
    began = time.process_time()
    for _ in range(100):
        present = PresentNouns(caption, NONE)
        for noun in WORDS[:15]:
            present.may_mean(noun)

    assert (time.process_time() - began) / 100 < 0.005
