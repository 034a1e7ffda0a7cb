"""A measure names one number of an evaluation, of all categories or of one group."""

from __future__ import annotations

import pytest

from pipelines.rounds.measuring import number_of
from pipelines.rounds.settings import Measure

FOUND = {
    "AP": 0.4,
    "recall_at": {"1": 0.8, "5": 0.9},
    "groups": {"tail": {"AP": 0.1, "recall_at": {"1": 0.3, "5": -1.0}}, "head": {"AP": -1.0}},
}


@pytest.mark.parametrize(
    ("group", "name", "number"),
    [
        ("", "AP", 0.4),
        ("tail", "AP", 0.1),
        ("", "R@1", 0.8),
        ("tail", "R@1", 0.3),
        ("tail", "R@5", None),
        ("head", "AP", None),
        ("head", "R@1", None),
        ("tial", "AP", None),
        ("tial", "R@1", None),
    ],
)
def test_a_measure_is_of_its_own_group_and_none_where_there_is_no_number(
    group: str, name: str, number: float | None
) -> None:
    assert number_of(FOUND, Measure(suite="held_out", name=name, group=group)) == number
