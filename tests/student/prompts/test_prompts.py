"""Prompts: spans survive every edit, negatives contradict the image, unknown phrases are masked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.demo.recipe import HARD_NEGATIVES
from pipelines.demo.world.lexicon import COLOURS
from student.data.example_source import MemorySource
from student.data.examples import ExamplePhrase, TrainingExample
from student.data.order import WholeOrder
from student.data.streams import Stream
from student.prompts.phrase_lists import make_hard_phrase_list
from student.prompts.training_prompt import (
    PromptSpan,
    TokenBudget,
    TrainingPrompt,
    make_caption_prompt,
    make_detection_prompt,
    make_fixed_prompt,
    make_prompt,
    mirror_prompt,
    replace_text,
)
from student.settings.streams import PromptMix, StreamSettings

BUDGET = TokenBudget(60, lambda text: len(text.split()))
NOUNS = {"circle": 9, "star": 5, "ring": 4, "fish": 1}


def example(*phrases: tuple[str, str, str]) -> TrainingExample:
    """One box per positive phrase; phrases are (text, noun, fate) joined by ' and '."""
    caption, made, boxes = "", [], []
    for text, noun, fate in phrases:
        caption += " and " if caption else ""
        own = (len(boxes),) if fate == "positive" else ()
        boxes += [[len(boxes), 0, len(boxes) + 10, 10]] if own else []
        made.append(ExamplePhrase(len(caption), len(caption) + len(text), text, noun, fate, own))
        caption += text
    ones = np.ones(len(boxes), np.float32)
    return TrainingExample(
        "x", {}, "", caption, tuple(made), np.array(boxes, np.float32).reshape(-1, 4), ones, ones
    )


def stream(one: TrainingExample, **values: object) -> Stream:
    chosen = StreamSettings(url="x", share=1.0, **values)  # type: ignore[arg-type]
    return Stream(
        chosen, "d", "v", chosen.prompts.phrase_list > 0, MemorySource([one]), WholeOrder([0], "d"), NOUNS, {}
    )


ONES = np.ones(2, np.float32)
PAIR = example(("a red circle", "circle", "positive"), ("a blue star", "star", "positive"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["left", "Right", "LEFT", "shoe", "é", "copyright", "right"]), min_size=1, max_size=8
    ),
    st.data(),
)
def test_a_mirrored_prompt_keeps_every_span_on_its_words(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    begin = len(" ".join([*words[:first], ""]))
    span = PromptSpan(begin, begin + len(" ".join(words[first : last + 1])))

    turned = mirror_prompt(TrainingPrompt(text, (span,), "caption"))

    swap = {"left": "right", "right": "left", "Right": "Left", "LEFT": "RIGHT"}
    expected = [swap.get(word, word) for word in words]
    assert turned.text == " ".join(expected)
    assert turned.text[turned.spans[0].begin : turned.spans[0].end] == " ".join(expected[first : last + 1])
    assert mirror_prompt(turned).text == text


def test_a_noun_that_was_seen_or_said_is_no_negative_of_a_view() -> None:
    """Seen: a phrase whose regions all lie in the ignore band. Said: a word of the caption that is no phrase."""
    seen = ExamplePhrase(0, 6, "a ring", "ring", "unresolved", (), ignored=(0,))
    ones = np.ones(1, np.float32)
    one = TrainingExample(
        "x", {}, "", "a ring near the Star", (seen,), np.array([[0, 0, 9, 9]], np.float32), ones, ones
    )
    view = stream(one, prompts=PromptMix(detection=1, phrase_list=0, caption=0))

    for seed in range(20):
        asked = make_detection_prompt(np.random.default_rng(seed), view, one, 9, BUDGET).text.split(". ")
        assert sorted(asked) == ["circle", "fish"]


@settings(max_examples=60, deadline=None)
@given(st.text("ab ", min_size=1, max_size=20), st.data())
def test_replacing_pieces_moves_the_spans_outside_them_exactly(text: str, data: st.DataObject) -> None:
    cut = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=4, max_size=4)))
    edits = [(cut[0], cut[1], "XYZ")] if cut[0] < cut[1] else []
    span = PromptSpan(cut[2], cut[3])

    moved = replace_text(TrainingPrompt(text, (span,), "caption"), edits)

    assert moved.text[moved.spans[0].begin : moved.spans[0].end] == text[cut[2] : cut[3]]


@pytest.mark.parametrize("seed", range(20))
def test_a_detection_prompt_holds_every_resolved_noun_and_only_absent_negatives(seed: int) -> None:
    one = example(("a red circle", "circle", "positive"), ("a ring", "ring", "unresolved"))
    prompt = make_detection_prompt(np.random.default_rng(seed), stream(one), one, 9, BUDGET)
    words = {prompt.text[span.begin : span.end]: span for span in prompt.spans}

    assert set(words) == {"circle", "star", "fish"}  # the unresolved ring is neither present nor absent
    assert words["circle"].boxes == (0,) and words["star"].boxes == words["fish"].boxes == ()


def test_negatives_beyond_the_token_budget_are_left_out_and_positives_stay() -> None:
    tight = TokenBudget(2, lambda text: len(text.split()))
    prompt = make_detection_prompt(np.random.default_rng(0), stream(PAIR), PAIR, 9, tight)

    assert sorted(prompt.text.split(". ")) == ["circle", "star"]


def test_an_unresolved_phrase_of_a_caption_is_masked_and_an_absent_one_is_a_negative() -> None:
    one = example(
        ("a ring", "ring", "unresolved"), ("a fish", "fish", "absent"), ("a star", "star", "positive")
    )

    assert [span.masked for span in make_caption_prompt(one).spans] == [True, False, False]
    assert [span.boxes for span in make_caption_prompt(one).spans] == [(), (), (0,)]


@pytest.mark.parametrize("seed", range(40))
def test_hard_negatives_contradict_every_phrase_and_positives_fit_theirs(seed: int) -> None:
    one = example(("a striped red circle", "circle", "positive"), ("a blue star", "star", "positive"))
    entries = make_hard_phrase_list(
        np.random.default_rng(seed), one.phrases, list(NOUNS), HARD_NEGATIVES, "[UNK]"
    )
    said = [{"striped", "red", "circle"}, {"blue", "star"}]

    assert {box for entry in entries for box in entry[1]} == {0, 1}
    for words, boxes, _, masked in entries:
        own = set(words.split()) - {"[UNK]"}
        assert set(boxes) == {i for i, thing in enumerate(said) if own <= thing}
        if not boxes and not masked:
            colours, noun = own & set(COLOURS), words.split()[-1]
            assert all(
                (noun not in ("[UNK]", *thing))
                or (colours and not colours & thing)
                or ({"striped", "dotted"} & own and "striped" in thing)
                for thing in said
            )


def test_hard_negatives_do_occur() -> None:
    found = [
        entry
        for seed in range(30)
        for entry in make_hard_phrase_list(
            np.random.default_rng(seed), PAIR.phrases, list(NOUNS), HARD_NEGATIVES, "[UNK]"
        )
    ]
    negatives = {words for words, boxes, _, _ in found if not boxes}

    assert any(words.endswith("circle") and not words.startswith("red") for words in negatives)
    assert any(words.startswith("red") and not words.endswith("circle") for words in negatives)
    assert any("[UNK]" in words for words in negatives)


def test_of_overlapping_phrases_one_alone_loses_its_noun() -> None:
    first = ExamplePhrase(0, 7, "red cup", "cup", "positive", (0,))
    second = ExamplePhrase(4, 19, "cup dotted star", "star", "positive", (1,))
    text, boxes = "red cup dotted star", np.zeros((2, 4), np.float32)
    nested = TrainingExample("x", {}, "", text, (first, second), boxes, ONES, ONES)
    always = HARD_NEGATIVES.model_copy(update={"caption_unknown_noun": 1.0})
    gold = stream(nested, prompts=PromptMix(detection=0, phrase_list=0.1, caption=0.9))
    kinds = set()
    for seed in range(20):
        prompt = make_prompt(np.random.default_rng(seed), gold, nested, always, BUDGET, "[UNK]")
        kinds.add(prompt.kind)
        if prompt.kind == "caption":
            assert prompt.text == "red [UNK] dotted star"

    assert "caption" in kinds


def test_student_and_control_draw_the_same_kinds_and_numbers_of_negatives() -> None:
    mix = PromptMix(detection=0.75, phrase_list=0.0, caption=0.25)
    other = example(("a green ring", "ring", "positive"), ("a red star", "star", "positive"))
    kinds: list[list[tuple[str, int]]] = [[], []]
    for seed in range(60):
        for made, one in zip(kinds, (PAIR, other), strict=True):
            prompt = make_prompt(
                np.random.default_rng(seed),
                stream(one, prompts=mix, negatives_max=2),
                one,
                HARD_NEGATIVES,
                BUDGET,
                "[UNK]",
            )
            made.append((prompt.kind, sum(not span.boxes for span in prompt.spans)))

    assert kinds[0] == kinds[1]
    assert {kind for kind, _ in kinds[0]} == {"detection", "caption"}


def test_a_fixed_prompt_asks_every_image_the_same_and_masks_what_is_not_known() -> None:
    one = example(("a red circle", "circle", "positive"), ("a blue star", "star", "unresolved"))

    prompt = make_fixed_prompt(one, "star. ring. circle")

    assert prompt.text == "star. ring. circle"
    assert [(prompt.text[s.begin : s.end], s.boxes, s.masked) for s in prompt.spans] == [
        ("star", (), True),
        ("ring", (), False),
        ("circle", (0,), False),
    ]


def test_a_phrase_list_masks_a_phrase_whose_boxes_are_not_known() -> None:
    one = example(("a red circle", "circle", "unresolved"), ("a blue star", "star", "positive"))
    lists = [
        make_hard_phrase_list(
            np.random.default_rng(seed), one.phrases, sorted(NOUNS), HARD_NEGATIVES, "[UNK]"
        )
        for seed in range(20)
    ]

    masked = [masked for entries in lists for words, _, _, masked in entries if words == "red circle"]
    assert masked and all(masked)
