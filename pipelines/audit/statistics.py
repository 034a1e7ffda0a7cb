"""Precision from a stratified sample: the estimate, its interval, and how many more reviews a narrower one takes.

Its promise: the interval is honest where the textbook's is not: few reviews, no error seen, strata of unequal
sampling, small populations, skipped items. `tests/audit/test_statistics.py` measures its coverage by simulation.

Estimate: each stratum's share of accepted regions, weighted by the stratum's size (the Horvitz-Thompson estimate,
skips taken as missing at random within their stratum).
Interval: Wilson's (1927) at an effective number of reviews; where fewer than five acceptances or rejections stand
behind it, the exact one of Clopper and Pearson at that number (Korn and Graubard, Survey Methodology 24, 1998).
Effective number: the strata's sizes with the finite population correction n (N - 1) / (N - n) (Cochran 1977, section
3.6), combined by Kish's rule for unequal weights, or from the strata's own variances where those say less. A gain by
stratification is not credited: it widens the interval by a tenth, and removes the cases (few reviews, shares near 1)
in which MOVER, stratified Wilson and uncapped intervals held the truth in 73 to 91 % of simulations instead of 95 %.
Known weak spot: 92 % where five reviews of one small uncertain stratum carry most of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field
from scipy.stats import beta, norm

from schemas.records import Record

FEW = 5
"""With fewer effective acceptances or rejections than this the interval is the exact one."""
SHRINKAGE = 2.0
"""Pseudo-reviews at the overall share in each stratum's variance: no stratum counts as certain after a few reviews."""


class StratumCounts(Record):
    """What the reviews of one stratum came to."""

    name: str
    group: str = "all"
    population: int = Field(ge=1)
    accepted: int = Field(0, ge=0)
    rejected: int = Field(0, ge=0)
    skipped: int = Field(0, ge=0)

    @property
    def decided(self) -> int:
        """Reviews that said yes or no."""
        return self.accepted + self.rejected


class Estimate(Record):
    """A share with its interval, as fractions."""

    value: float | None = Field(description="None where nothing was decided")
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


NOTHING_KNOWN = Estimate(value=None, low=0.0, high=1.0)


def interval(share: float, reviews: float, confidence: float = 0.95) -> Estimate:
    """The interval of a share seen in a (perhaps effective, perhaps infinite) number of reviews."""
    if math.isinf(reviews):
        return Estimate(value=share, low=share, high=share)
    if min(share, 1 - share) * reviews < FEW - 1e-9:
        low, high = _clopper_pearson(share * reviews, (1 - share) * reviews, (1 - confidence) / 2)
    else:
        low, high = _wilson(share, reviews, float(norm.isf((1 - confidence) / 2)))
    # rounding must not put a limit on the wrong side of the share
    return Estimate(value=share, low=max(0.0, min(low, share)), high=min(1.0, max(high, share)))


def _wilson(share: float, reviews: float, z: float) -> tuple[float, float]:
    centre = (share + z * z / (2 * reviews)) / (1 + z * z / reviews)
    reach = z / (1 + z * z / reviews) * math.sqrt(share * (1 - share) / reviews + (z / (2 * reviews)) ** 2)
    return centre - reach, centre + reach


def _clopper_pearson(accepted: float, rejected: float, tail: float) -> tuple[float, float]:
    low = float(beta.ppf(tail, accepted, rejected + 1)) if accepted > 0 else 0.0
    high = float(beta.isf(tail, accepted + 1, rejected)) if rejected > 0 else 1.0
    return low, high


def stratum_estimate(counts: StratumCounts, confidence: float = 0.95) -> Estimate:
    """The precision of one stratum."""
    return precision([counts], confidence)


def precision(strata: Sequence[StratumCounts], confidence: float = 0.95) -> Estimate:
    """The precision of all strata together.

    Strata without a decided review count with the interval [0, 1]: the value speaks for the others, the interval for
    the whole.
    """
    known = [counts for counts in strata if counts.decided]
    if not known:
        return NOTHING_KNOWN
    seen = [(counts.population, counts.decided, counts.accepted / counts.decided) for counts in known]
    whole = _combined(seen, confidence)
    covered = sum(counts.population for counts in known) / sum(counts.population for counts in strata)
    return Estimate(value=whole.value, low=covered * whole.low, high=covered * whole.high + (1 - covered))


def _combined(seen: Sequence[tuple[int, float, float]], confidence: float) -> Estimate:
    """The interval of strata given as (population, decided reviews, share accepted)."""
    total = sum(population for population, _, _ in seen)
    share = min(1.0, math.fsum(population / total * share for population, _, share in seen))
    kish = variance = 0.0
    for population, decided, own in seen:
        if decided < population:
            # squared weight over the reviews, corrected for a finite population; 0 for a stratum reviewed whole
            part = (population / total) ** 2 / (decided * (population - 1) / (population - decided))
            smoothed = (decided * own + SHRINKAGE * share) / (decided + SHRINKAGE)
            kish += part
            variance += part * smoothed * (1 - smoothed)
    reviews = 1 / kish if kish else math.inf
    if variance > 0 and 0 < share < 1:
        reviews = min(reviews, share * (1 - share) / variance)
    return interval(share, reviews, confidence)


def if_skips_were(strata: Sequence[StratumCounts], *, right: bool, confidence: float = 0.95) -> Estimate:
    """The precision had every skipped item been accepted (`right`) or rejected: what the skips could hide."""
    verdict = "accepted" if right else "rejected"
    decided = [
        counts.model_copy(update={verdict: getattr(counts, verdict) + counts.skipped, "skipped": 0})
        for counts in strata
    ]
    return precision(decided, confidence)


def reviews_missing(
    strata: Sequence[StratumCounts], half_width: float, confidence: float = 0.95
) -> int | None:
    """About how many more decided reviews bring the interval to +- `half_width`, if the shares stay as they are.

    More reviews are spread over the strata as the present ones are. None where a stratum has none yet: its first
    reviews say more than any forecast.
    """
    if any(counts.decided == 0 for counts in strata):
        return None
    if precision(strata, confidence).half_width <= half_width:
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
    """The interval with `times` as many reviews in each stratum, at the same shares."""
    return _combined(
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
