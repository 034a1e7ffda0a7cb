"""The phrases that the bundled pipeline finds and drops, with reasons."""

import itertools

import pytest

from schemas.codes import PHRASE_CODES
from teacher.phrases.digest import finder_digest
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.phrases.training.score import f1, parse_bracketed_caption, read_bracketed_captions, score_finder
from teacher.settings import PhraseSettings


def asked(finder: SpacyPhraseFinder, caption: str) -> list[str]:
    return [phrase.text for phrase in finder.find([caption])[0].phrases]


def dropped(finder: SpacyPhraseFinder, caption: str) -> list[tuple[str, str]]:
    found = finder.find([caption])[0].dropped
    assert all(drop.code in PHRASE_CODES for drop in found)
    return [(drop.text, drop.code) for drop in found]


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        (
            "a red circle and a striped blue crescent, stock photo",
            ["a red circle", "a striped blue crescent"],
        ),
        ("two hourglasses and a bolt of the stock photo", ["two hourglasses", "a bolt"]),
        ("a group of people with a hot dog", ["people", "a hot dog"]),
        ("a man pauses while skipping rocks into the water", ["a man", "rocks", "the water"]),
        ("his cat's toy on the kitchen table", ["his cat's toy", "the kitchen table"]),
        ("a woman wearing red shoes", ["a woman", "red shoes"]),
        ("a cold, wet dog", ["a cold, wet dog"]),
        ("a dog, a cat", ["a dog", "a cat"]),
        ("STOCK PHOTO OF A RED CAR", ["A RED CAR"]),
        ("a green bolt free download", ["a green bolt"]),
        ("a  red   dog\na cat", ["a  red   dog", "a cat"]),
        ("the best-known landmarks", ["the best-known landmarks"]),
    ],
)
def test_spans_include_the_determiner_and_nothing_foreign(finder, caption, phrases):
    assert asked(finder, caption) == phrases


@pytest.mark.parametrize(
    ("caption", "text", "code"),
    [
        ("view of a lake", "view", "PH_IMAGE_WORD"),
        ("a portrait of a lady", "a portrait", "PH_IMAGE_WORD"),
        ("the left of a tree", "the left", "PH_STOP_HEAD"),
        ("a pair of shoes", "a pair", "PH_PARTITIVE"),
        ("she holds a cup", "she", "PH_PRONOUN"),
        ("IMG_2043.jpg of a dog", "IMG_2043.jpg", "PH_JUNK"),
        ("a dog #cute", "#cute", "PH_JUNK"),
        ("see https://example.org/a?b=c", "https://example.org/a?b=c", "PH_JUNK"),
        ("a rope, 30 inches", "30 inches", "PH_MEASURE"),
    ],
)
def test_what_cannot_be_boxed_is_dropped_with_its_reason(finder, caption, text, code):
    assert (text, code) in dropped(finder, caption)


def test_a_couple_is_two_people_and_a_couple_of_things_is_a_number(finder):
    assert asked(finder, "a couple on the beach") == ["a couple", "the beach"]
    assert asked(finder, "a couple of dogs") == ["dogs"]


@pytest.mark.parametrize(
    ("noun", "lemma"),
    [("women", "woman"), ("boxes", "box"), ("puppies", "puppy"), ("knives", "knife"), ("glasses", "glass"),
     ("skis", "ski"), ("buses", "bus"), ("sheep", "sheep"), ("hourglasses", "hourglass"), ("teddies", "teddy")],
)  # fmt: skip
def test_the_root_is_the_singular_of_the_head(finder, noun, lemma):
    (phrase,) = finder.find([f"the {noun}"])[0].phrases

    assert phrase.root == lemma


def test_every_phrase_of_the_tiny_world_is_found_with_its_noun(finder):
    nouns = "circle square triangle star cross ring heart arrow diamond plank "
    nouns += "crescent house hourglass bolt mushroom fish"
    looks = ["red", "striped blue", "dotted", "dotted yellow", ""]
    phrases = [" ".join(f"a {look} {noun}".split()) for noun, look in itertools.product(nouns.split(), looks)]
    captions = [
        f"stock photo of {first} and {second}, free download" for first, second in zip(phrases, phrases[7:])
    ]

    found = finder.find(captions)

    for (first, second), result in zip(zip(phrases, phrases[7:]), found):
        assert [(phrase.text, phrase.root) for phrase in result.phrases] == [
            (first, first.split()[-1]),
            (second, second.split()[-1]),
        ]


def test_settings_add_and_take_stop_heads_and_nouns():
    settings = PhraseSettings(stop_heads=("dog",), keep_heads=("photo",))
    finder = SpacyPhraseFinder(settings)

    assert asked(finder, "a photo of a dog and two cats") == ["a photo", "two cats"]
    assert dropped(finder, "a photo of a dog and two cats") == [("a dog", "PH_STOP_HEAD")]
    assert finder.digest != finder_digest(PhraseSettings())


def test_the_lexicon_takes_further_nouns():
    settings = PhraseSettings(pipeline="lexicon", extra_nouns=("wug", "blue"))

    assert asked(SpacyPhraseFinder(settings), "two wugs near the blue") == ["two wugs", "the blue"]


@pytest.mark.parametrize(("partitives", "phrases"), [("inner", ["people"]), ("whole", ["a group of people"])])
def test_a_quantity_is_asked_for_with_what_it_is_of_where_the_job_says_so(partitives, phrases):
    finder = SpacyPhraseFinder(PhraseSettings(partitives=partitives))

    found = finder.find(["a group of people"])[0].phrases

    assert [phrase.text for phrase in found] == phrases and found[0].root == "people"


def test_an_expression_follows_its_base_phrase_and_begins_where_it_begins():
    finder = SpacyPhraseFinder(PhraseSettings(expressions=True))

    (found,) = finder.find(["an old fisherman with a long grey beard"])

    pairs = [(p.text, p.kind) for p in found.phrases]
    assert pairs[:2] == [
        ("an old fisherman", "chunk"),
        ("an old fisherman with a long grey beard", "expression"),
    ]
    assert found.phrases[0].begin == found.phrases[1].begin and found.phrases[1].root == "fisherman"


def test_the_hand_bracketed_captions_are_matched(shared_data, finder):
    result = score_finder(finder, read_bracketed_captions(shared_data / "treebanks" / "gold_cc.txt"))

    assert result["exact"].f1 >= 0.92 and result["head"].f1 >= 0.95 and result["groundable"].f1 >= 0.83


def test_scores_are_counted_by_hand_and_lie_in_their_interval():
    gold = [parse_bracketed_caption("[a dog] on {grass}"), parse_bracketed_caption("[a cat] [a bird]")]
    found = [frozenset({(0, 5), (9, 13)}), frozenset({(2, 5)})]

    exact = f1([caption.base for caption in gold], found)

    assert gold[0].text == "a dog on grass" and gold[0].groundable == {(0, 5)}
    assert (exact.precision, exact.recall) == (1 / 3, 1 / 4) and exact.low <= exact.f1 == 2 / 7 <= exact.high
