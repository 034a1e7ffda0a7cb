"""Precision of a stratified sample: the estimate, its interval, and the number of reviews that are missing.

The interval has its nominal coverage also for few reviews, no error, unequal sampling of the strata, small populations
and skipped items. `tests/audit/test_statistics.py` measures the coverage by simulation.

Estimate: each stratum's share of accepted regions, weighted by the stratum's size. This is the Horvitz-Thompson
estimate. Skipped items count as missing at random within their stratum.
Interval: see `pipelines/quality/intervals.py`, at an effective number of reviews.
Effective number: the strata's sizes with the finite population correction n (N - 1) / (N - n) (Cochran 1977, section
3.6), combined by Kish's rule for unequal weights, or from the strata's own variances where those give less. A gain by
stratification is not credited. That widens the interval by a tenth. It removes the cases (few reviews, shares near 1)
in which MOVER, stratified Wilson and uncapped intervals contained the truth in 73 to 91 % of simulations instead of
95 %. Known weak spot: coverage is 92 % where five reviews of one small uncertain stratum carry most of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from pipelines.quality.intervals import UNKNOWN_ESTIMATE, Estimate, estimate_share
from schemas.records import Record

SHRINKAGE = 2.0
"""Pseudo-reviews at the overall share in each stratum's variance: no stratum counts as certain after a few reviews."""


class StratumCounts(Record):
    """Counts of the reviews of one stratum."""

    name: str
    group: str = "all"
    population: int = Field(ge=1)
    accepted: int = Field(0, ge=0)
    rejected: int = Field(0, ge=0)
    skipped: int = Field(0, ge=0)

    @property
    def decided(self) -> int:
        """Number of reviews that accept or reject."""
        return self.accepted + self.rejected


def estimate_stratum(counts: StratumCounts, confidence: float = 0.95) -> Estimate:
    """Return the precision of one stratum."""
    return estimate_precision([counts], confidence)


def estimate_precision(strata: Sequence[StratumCounts], confidence: float = 0.95) -> Estimate:
    """Return the precision of all strata together.

    Strata without a decided review count with the interval [0, 1]. The value is that of the other strata, the interval
    covers all.
    """
    known = [counts for counts in strata if counts.decided]
    if not known:
        return UNKNOWN_ESTIMATE
    known_shares = [(counts.population, counts.decided, counts.accepted / counts.decided) for counts in known]
    whole = _combine(known_shares, confidence)
    covered = sum(counts.population for counts in known) / sum(counts.population for counts in strata)
    return Estimate(value=whole.value, low=covered * whole.low, high=covered * whole.high + (1 - covered))


def _combine(shares: Sequence[tuple[int, float, float]], confidence: float) -> Estimate:
    """Return the interval of strata, each given as (population, decided reviews, share accepted)."""
    total = sum(population for population, _, _ in shares)
    share = min(1.0, math.fsum(population / total * share for population, _, share in shares))
    kish = variance = 0.0
    for population, decided, own in shares:
        if decided < population:
            # squared weight over the reviews, corrected for a finite population; 0 for a stratum reviewed whole
            part = (population / total) ** 2 / (decided * (population - 1) / (population - decided))
            smoothed = (decided * own + SHRINKAGE * share) / (decided + SHRINKAGE)
            kish += part
            variance += part * smoothed * (1 - smoothed)
    reviews = 1 / kish if kish else math.inf
    if variance > 0 and 0 < share < 1:
        reviews = min(reviews, share * (1 - share) / variance)
    return estimate_share(share, reviews, confidence)


def assume_skips(strata: Sequence[StratumCounts], *, right: bool, confidence: float = 0.95) -> Estimate:
    """Return the precision if every skipped item had been accepted (`right`) or rejected."""
    verdict = "accepted" if right else "rejected"
    decided = [
        counts.model_copy(update={verdict: getattr(counts, verdict) + counts.skipped, "skipped": 0})
        for counts in strata
    ]
    return estimate_precision(decided, confidence)


def estimate_missing_reviews(
    strata: Sequence[StratumCounts], half_width: float, confidence: float = 0.95
) -> int | None:
    """Estimate how many more decided reviews bring the interval to +- `half_width`, if the shares do not change.

    The new reviews are spread over the strata like the present ones. Return None if a stratum has no review yet.
    """
    if any(counts.decided == 0 for counts in strata):
        return None
    if estimate_precision(strata, confidence).half_width <= half_width:
        return 0
    low, high = 1.0, max(counts.population / counts.decided for counts in strata)
    for _ in range(40):
        middle = (low + high) / 2
        if _forecast(strata, middle, confidence).half_width <= half_width:
            high = middle
        else:
            low = middle
    more = sum(min(counts.decided * high, counts.population) - counts.decided for counts in strata)
    return max(1, math.ceil(more - 1e-6))


def _forecast(strata: Sequence[StratumCounts], times: float, confidence: float) -> Estimate:
    """Return the interval with `times` as many reviews in each stratum, at the same shares."""
    return _combine(
        [
            (
                counts.population,
                min(counts.decided * times, counts.population),
                counts.accepted / counts.decided,
            )
            for counts in strata
        ],
        confidence,
    )
