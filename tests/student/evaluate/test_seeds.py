"""Intervals over seeds, by a hand-worked case and against scipy's own paired test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from schemas.errors import ConfigError
from student.evaluate.seeds import compare_over_seeds, compare_with_best_control


def test_a_hand_worked_case() -> None:
    """Differences 1, 2, 3: mean 2, standard deviation 1, t(0.975, 2) = 4.3027, half width 4.3027 / sqrt(3)."""
    found = compare_over_seeds({1: 2.0, 2: 4.0, 3: 6.0}, {1: 1.0, 2: 2.0, 3: 3.0})

    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-4)
    assert found.positive_on == 3 and found.by_seed == {1: 1.0, 2: 2.0, 3: 3.0}


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_interval_is_that_of_the_paired_t_test(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    ours, theirs = rng.normal(1, 1, seeds), rng.normal(0, 1, seeds)

    found = compare_over_seeds(dict(enumerate(ours)), dict(enumerate(theirs)), share=0.9)

    expected = ttest_rel(ours, theirs).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_an_arm_against_itself_differs_by_nothing_and_what_seeds_share_cancels() -> None:
    hard = {seed: float(seed * 100) for seed in range(5)}

    assert compare_over_seeds(hard, hard).high == 0
    shifted = compare_over_seeds({seed: value + 1 for seed, value in hard.items()}, hard)
    assert (shifted.low, shifted.high) == pytest.approx((1, 1))


def test_the_gain_is_over_the_better_control() -> None:
    name, gain = compare_with_best_control(
        {1: 9.0, 2: 8.0}, {"plain": {1: 1.0, 2: 1.0}, "mixed": {1: 7.0, 2: 7.0}, "shuffled": {1: 2.0, 2: 2.0}}
    )

    assert (name, gain.mean) == ("mixed", 1.5)


@pytest.mark.parametrize(
    ("ours", "theirs", "share", "reason"),
    [
        ({1: 1.0, 2: 2.0}, {1: 1.0}, 0.95, "were run for one method only"),
        ({1: 1.0}, {1: 1.0}, 0.95, "needs at least 2"),
        ({1: 1.0, 2: 2.0}, {1: 1.0, 2: 1.0}, 1.0, "between 0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused(ours: dict, theirs: dict, share: float, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        compare_over_seeds(ours, theirs, share)
