"""Prompts: every phrase is whole and in one prompt, or dropped with a reason. The budget is never exceeded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Phrase
from teacher.prompts.packing import TOO_LONG, Budget, pack, pack_decoys


def words(text: str) -> int:
    """Return a toy tokenizer's count: one token per word or full stop, two special ones."""
    return len(text.replace(".", " . ").split()) + 2


def phrases_of(caption: str, *texts: str) -> list[Phrase]:
    found, start = [], 0
    for text in texts:
        begin = caption.index(text, start)
        found.append(Phrase(begin=begin, end=begin + len(text), text=text, root=text.split()[-1]))
        start = begin + len(text)
    return found


CAPTION = "a red dog sits beside two cats under the very old tree"
PHRASES = phrases_of(CAPTION, "a red dog", "two cats", "the very old tree")


def texts(plan) -> list[str]:
    return [prompt.text for prompt in plan.prompts]


def test_a_caption_that_fits_is_its_own_prompt():
    plan = pack(CAPTION, PHRASES, Budget(20, words))

    assert texts(plan) == [CAPTION]
    assert [(span.phrase, span.begin, span.end) for span in plan.prompts[0].spans] == [
        (i, phrase.begin, phrase.end) for i, phrase in enumerate(PHRASES)
    ]


def test_a_caption_that_does_not_fit_becomes_lists_of_its_phrases():
    assert texts(pack(CAPTION, PHRASES, Budget(8, words))) == ["a red dog. two cats", "the very old tree"]


def test_in_caption_mode_it_is_cut_at_phrase_borders():
    assert texts(pack(CAPTION, PHRASES, Budget(10, words), "caption")) == [
        "a red dog sits beside two cats",
        "the very old tree",
    ]


def test_in_phrase_mode_the_caption_is_never_the_prompt():
    assert texts(pack(CAPTION, PHRASES, Budget(99, words), "phrases")) == [
        "a red dog. two cats. the very old tree"
    ]


def test_a_phrase_that_is_too_long_alone_is_dropped_with_its_reason():
    plan = pack(CAPTION, PHRASES, Budget(5, words))

    assert plan.dropped == ((2, TOO_LONG),) and texts(plan) == ["a red dog", "two cats"]


def test_a_budget_that_is_exactly_met_is_not_exceeded():
    assert texts(pack("a dog", phrases_of("a dog", "a dog"), Budget(4, words))) == ["a dog"]
    assert pack("a dog", phrases_of("a dog", "a dog"), Budget(3, words)).dropped == ((0, TOO_LONG),)


def test_decoys_are_asked_apart_from_the_caption():
    decoy = Phrase(text="a zebra", root="zebra", kind="decoy")

    plan = pack(CAPTION, [*PHRASES, decoy], Budget(20, words))

    assert texts(plan) == [CAPTION, "a zebra"] and plan.prompts[1].spans[0].phrase == 3


def test_a_caption_without_phrases_needs_no_prompt():
    assert pack(CAPTION, [], Budget(20, words)).prompts == ()


@st.composite
def captions(draw):
    """Draw a caption of short words, and phrases that are parts of it and may overlap as expressions do."""
    parts = draw(
        st.lists(
            st.sampled_from(["a", "dog", "red", "of", "🐶", "e\u0301", "İ", "שלום"]), min_size=1, max_size=20
        )
    )
    starts, position = [], 0
    for part in parts:
        starts.append(position)
        position += len(part) + 1
    caption, found = " ".join(parts), []
    for _ in range(draw(st.integers(0, 6))):
        first = draw(st.integers(0, len(parts) - 1))
        last = draw(st.integers(first, min(first + 5, len(parts) - 1)))
        begin, end = starts[first], starts[last] + len(parts[last])
        found.append(Phrase(begin=begin, end=end, text=caption[begin:end], root="x"))
    return caption, found


@pytest.mark.parametrize("mode", ["auto", "caption", "phrases"])
def test_no_phrase_is_lost_cut_or_asked_twice(mode):
    @given(captions(), st.integers(3, 15))
    def holds(made, limit):
        caption, phrases = made
        plan = pack(caption, phrases, Budget(limit, words), mode)
        asked = [span.phrase for prompt in plan.prompts for span in prompt.spans]
        assert sorted([*asked, *(number for number, _ in plan.dropped)]) == list(range(len(phrases)))
        for prompt in plan.prompts:
            assert words(prompt.text) <= limit
            assert all(prompt.text[s.begin : s.end] == phrases[s.phrase].text for s in prompt.spans)
        assert all(words(phrases[number].text) > limit for number, _ in plan.dropped)

    holds()


def decoys(*nouns):
    return [Phrase(text=noun, root=noun, kind="decoy") for noun in nouns]


def test_decoys_are_asked_behind_the_caption_with_spans_of_their_own_alone():
    plan = pack_decoys(CAPTION, [*PHRASES, *decoys("kite", "bed")], Budget(40, words))

    [prompt] = plan.prompts
    assert prompt.text == f"{CAPTION}. kite. bed" and plan.dropped == ()
    assert [prompt.text[span.begin : span.end] for span in prompt.spans] == ["kite", "bed"]
    assert [span.phrase for span in prompt.spans] == [len(PHRASES), len(PHRASES) + 1]


@pytest.mark.parametrize("limit", range(2, 30))
@pytest.mark.parametrize("mode", ["auto", "caption", "phrases"])
def test_no_decoy_is_lost_or_asked_twice_whatever_fits(limit, mode):
    phrases = [*PHRASES, *decoys("kite", "bed", "tall tree")]
    budget = Budget(limit, words)

    plan = pack_decoys(CAPTION, phrases, budget, mode)

    asked = [span.phrase for prompt in plan.prompts for span in prompt.spans]
    assert sorted([*asked, *(number for number, _ in plan.dropped)]) == [len(PHRASES) + n for n in range(3)]
    assert all(budget.fits(prompt.text) for prompt in plan.prompts)
    for prompt in plan.prompts:
        assert all(prompt.text[s.begin : s.end] == phrases[s.phrase].text for s in prompt.spans)
