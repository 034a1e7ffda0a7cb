"""The precision of a stratified sample: hand-worked cases, limits, and the interval's coverage by simulation."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.audit.statistics import (
    StratumCounts,
    assume_skips,
    estimate_missing_reviews,
    estimate_precision,
    estimate_stratum,
)
from pipelines.quality.intervals import estimate_share

# population sizes, true shares, sample sizes: from many small strata with no error to one large one
WORLDS = {
    "even": ([4000] * 5, [0.35, 0.55, 0.7, 0.85, 0.95], [40] * 5),
    "nearly perfect": ([4000] * 5, [0.95, 0.97, 0.98, 0.99, 1.0], [40] * 5),
    "nearly perfect, few reviews": ([2000] * 4, [0.9, 0.97, 0.97, 0.99], [15] * 4),
    "ten strata of five reviews": (
        [500] * 10,
        [0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.99],
        [5] * 10,
    ),
    "tiny strata": ([60, 400, 3000], [0.3, 0.7, 0.9], [5, 6, 39]),
    "the largest stratum reviewed least": ([13196, 1638], [0.978, 0.896], [60, 72]),
    "a small uncertain stratum": ([1000, 20000], [0.5, 0.99], [5, 495]),
    "half of all reviewed": ([80, 80, 80], [0.5, 0.75, 0.9], [40, 40, 40]),
    "single stratum, hardly an error": ([14000], [0.997], [50]),
}
WEAK_SPOT = (
    "a small uncertain stratum"  # five reviews carry most of the variance; `draw_sample` never allots so
)


def counts(accepted, rejected, population=1000, skipped=0, name="s"):
    return StratumCounts(
        name=name, population=population, accepted=accepted, rejected=rejected, skipped=skipped
    )


def simulated_coverage(world, repeats=1200, seed=0):
    """Share of repeated samples whose 95 % interval holds the truth; equal outcomes are solved once."""
    populations, shares, drawn = WORLDS[world]
    right = [round(share * population) for share, population in zip(shares, populations, strict=True)]
    truth = sum(right) / sum(populations)
    chance = np.random.default_rng(seed)
    accepted = np.stack(
        [
            chance.hypergeometric(r, p - r, d, repeats)
            for r, p, d in zip(right, populations, drawn, strict=True)
        ],
        1,
    )
    outcomes, times = np.unique(accepted, axis=0, return_counts=True)
    hits = 0
    for outcome, how_often in zip(outcomes.tolist(), times.tolist(), strict=True):
        parts = [counts(a, d - a, p) for a, d, p in zip(outcome, drawn, populations, strict=True)]
        whole = estimate_precision(parts)
        hits += how_often * (whole.low <= truth <= whole.high)
    return hits / repeats


@pytest.mark.parametrize("world", WORLDS)
def test_the_interval_holds_the_truth_about_as_often_as_it_says(world):
    assert simulated_coverage(world) >= (0.90 if world == WEAK_SPOT else 0.935)


def test_the_textbook_interval_fails_the_simulation_that_ours_passes():
    (population,), (true_share,), (drawn,) = WORLDS["single stratum, hardly an error"]
    right = round(true_share * population)
    shares = np.random.default_rng(0).hypergeometric(right, population - right, drawn, 1200) / drawn
    reach = 1.96 * np.sqrt(shares * (1 - shares) / drawn)

    assert np.mean(np.abs(shares - right / population) <= reach) < 0.2


def test_one_stratum_gives_wilsons_interval_as_scipy_computes_it():
    reference = binomtest(42, 50).proportion_ci(0.95, "wilson")
    whole = estimate_precision([counts(42, 8, population=10**9)])

    assert whole.value == 0.84
    assert (whole.low, whole.high) == pytest.approx((reference.low, reference.high), abs=1e-6)


def test_few_reviews_give_clopper_and_pearsons_interval_as_scipy_computes_it():
    reference = binomtest(4, 7).proportion_ci(0.95, "exact")
    whole = estimate_share(4 / 7, 7)

    assert (whole.low, whole.high) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_the_estimate_weights_strata_by_population_not_by_sample():
    parts = [counts(10, 10, population=9000), counts(20, 0, population=1000)]
    whole = estimate_precision(parts)

    assert whole.value == pytest.approx(0.9 * 0.5 + 0.1 * 1.0)  # Horvitz-Thompson; the pooled share is 0.75
    assert whole.low < whole.value < whole.high


def test_a_full_review_leaves_no_uncertainty():
    whole = estimate_precision([counts(30, 10, population=40), counts(5, 1, population=6)])

    assert (whole.low, whole.value, whole.high) == pytest.approx((35 / 46,) * 3)


def test_no_error_seen_still_leaves_an_interval():
    assert estimate_precision([counts(20, 0), counts(20, 0)]).low == pytest.approx(
        0.914, abs=0.002
    )  # Clopper and Pearson: 0.912
    assert estimate_precision([counts(20, 0), counts(20, 0)]).high == 1.0


def test_a_stratum_without_reviews_widens_the_interval_by_its_share():
    known, unknown = counts(50, 50, population=800), counts(0, 0, population=200, skipped=3)
    alone, both = estimate_precision([known]), estimate_precision([known, unknown])

    assert both.value == alone.value
    assert (both.low, both.high) == pytest.approx((0.8 * alone.low, 0.8 * alone.high + 0.2))
    assert estimate_precision([unknown]).value is None


def test_skips_bound_the_precision_from_both_sides():
    parts = [counts(30, 10, skipped=10)]

    assert assume_skips(parts, right=False).value == 30 / 50
    assert estimate_precision(parts).value == 30 / 40
    assert assume_skips(parts, right=True).value == 40 / 50


def test_the_forecast_number_of_reviews_gives_the_half_width_it_promises():
    parts = [counts(40, 10, population=5000), counts(25, 25, population=5000)]
    more = estimate_missing_reviews(parts, 0.02)
    times = 1 + more / 100
    later = [counts(round(p.accepted * times), round(p.rejected * times), p.population) for p in parts]

    assert estimate_precision(later).half_width == pytest.approx(0.02, abs=2e-4)
    assert estimate_missing_reviews(later, 0.021) == 0
    assert estimate_missing_reviews([*parts, counts(0, 0)], 0.02) is None


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 500)), min_size=1, max_size=6)
)
@settings(max_examples=100, deadline=None)
def test_limits_enclose_the_share_and_stay_within_0_and_1(strata):
    whole = estimate_precision([counts(yes, no, population=yes + no + rest) for yes, no, rest in strata])

    assert 0 <= whole.low <= whole.high <= 1
    assert whole.value is None or whole.low <= whole.value <= whole.high


def test_more_reviews_narrow_and_more_confidence_widens():
    widths = [estimate_stratum(counts(9 * n, n, population=10**6)).half_width for n in (1, 2, 8, 64)]
    assert widths == sorted(widths, reverse=True)
    for accepted, decided in product((0, 3, 6), (6, 12)):
        narrow = estimate_stratum(counts(accepted, decided - accepted), 0.8)
        wide = estimate_stratum(counts(accepted, decided - accepted), 0.99)
        assert wide.low <= narrow.low and narrow.high <= wide.high and math.isfinite(wide.half_width)
