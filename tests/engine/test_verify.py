from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from engine.ledger.verify import row_problems

ROW: dict[str, Any] = {
    "index": 0,
    "key": "k",
    "caption": "a cat on a mat",
    "width": 20,
    "height": 10,
    "phrases": [
        {"begin": 0, "end": 5, "text": "a cat"},
        {"begin": None, "end": None, "text": "a submarine"},
    ],
    "dropped_phrases": [{"begin": 9, "end": 14, "text": "a mat", "code": "PH_STOP_HEAD"}],
    "regions": [{"phrase": 1, "x0": 0.0, "y0": 0.0, "x1": 20.0, "y1": 10.0, "score": 1.0}],
}


def changed(change: Callable[[dict[str, Any]], None]) -> list[str]:
    row = copy.deepcopy(ROW)
    change(row)
    return list(row_problems(row))


def test_a_row_that_keeps_the_rules_has_no_problem() -> None:
    assert list(row_problems(ROW)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row["phrases"][0].update(end=6), "is 'a cat '"),
        (lambda row: row["dropped_phrases"][0].update(text="a hat"), "not 'a hat'"),
        (lambda row: row["regions"][0].update(phrase=2), "phrase 2 of 2"),
        (lambda row: row["regions"][0].update(x1=20.5), "leaves the image of 20 x 10"),
        (lambda row: row["regions"][0].update(y0=10.0), "is empty"),
        (lambda row: row["regions"][0].update(x0=float("nan")), "not finite"),
        (lambda row: row["regions"][0].update(score=float("inf")), "not finite"),
        (lambda row: row["regions"][0].update(score=1.5), "outside 0..1"),
    ],
)
def test_each_broken_rule_is_named(change: Callable[[dict[str, Any]], None], words: str) -> None:
    problems = changed(change)

    assert len(problems) == 1 and words in problems[0]
