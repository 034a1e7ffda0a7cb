"""Words of a side turn with the image, and nouns are drawn by their odds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student.data.vocabulary import Vocabulary
from student.prompts.training_prompt import PromptSpan, TrainingPrompt, mirror_prompt


@pytest.mark.parametrize(
    ("words", "turned"),
    [
        ("Left", "Right"),
        ("lefthand side", "righthand side"),
        ("LEFT-HANDED", "RIGHT-HANDED"),
        ("a left-most cup, leftwards", "a right-most cup, rightwards"),
        ("top_left 2right", "top_right 2right"),
        ("left\u2019s", "right\u2019s"),
        ("bright cleft copyright leftover righteous lefty\u00e9", None),
    ],
)
def test_words_of_a_side_are_turned_and_words_that_only_hold_one_are_not(
    words: str, turned: str | None
) -> None:
    assert mirror_prompt(TrainingPrompt(words, (), "caption")).text == (turned or words)


ANY_TEXT = st.lists(
    st.sampled_from(["left", "Right", "lefthand", "right-handed", "bright", " ", ", ", "é", "😀", "x"])
).map("".join)


@given(ANY_TEXT, st.data())
def test_mirroring_twice_gives_back_text_and_spans(text: str, data: st.DataObject) -> None:
    edges = sorted({0, len(text), *(at for at, char in enumerate(text) if char in " ,")})
    begin, end = sorted(data.draw(st.tuples(st.sampled_from(edges), st.sampled_from(edges))))
    prompt = TrainingPrompt(text, (PromptSpan(begin, end),), "caption")

    once = mirror_prompt(prompt)

    assert mirror_prompt(once) == prompt
    spoken = TrainingPrompt(text[begin:end], (), "caption")
    assert once.text[once.spans[0].begin : once.spans[0].end] == mirror_prompt(spoken).text


def test_drawing_from_many_nouns_follows_their_odds_and_takes_none_twice() -> None:
    counts = {f"n{place:03d}": place + 1 for place in range(200)}
    nouns = Vocabulary(counts, power=1.0)
    rng = np.random.default_rng(0)
    draws = [nouns.draw(rng, 5, {"n199"}.__contains__) for _ in range(4000)]

    assert all(len(set(drawn)) == 5 and "n199" not in drawn for drawn in draws)
    first = np.mean([int(drawn[0][1:]) >= 100 for drawn in draws])
    assert first == pytest.approx(sum(range(101, 200)) / sum(range(1, 200)), abs=0.03)
    assert len(nouns.draw(rng, 500, lambda noun: noun < "n190")) == 10
