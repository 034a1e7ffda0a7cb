"""Confidence intervals of a share.

Wilson's interval (1927), and the exact one of Clopper and Pearson where fewer than five successes or failures were
observed (Korn and Graubard, Survey Methodology 24, 1998). The number of reviews may be an effective one, so it need
not be a whole number.
"""

from __future__ import annotations

import math

from pydantic import Field
from scipy.stats import beta, norm

from schemas.records import Record

FEW = 5
"""With fewer effective successes or failures than this, the interval is the exact one."""


class Estimate(Record):
    """A share with its interval, as fractions."""

    value: float | None = Field(description="None where nothing was decided")
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


UNKNOWN_ESTIMATE = Estimate(value=None, low=0.0, high=1.0)


def estimate_share(share: float, reviews: float, confidence: float = 0.95) -> Estimate:
    """Return the interval of a share.

    reviews: number of independent observations, may be fractional or infinite
    """
    if math.isinf(reviews):
        return Estimate(value=share, low=share, high=share)
    if min(share, 1 - share) * reviews < FEW - 1e-9:
        low, high = _clopper_pearson(share * reviews, (1 - share) * reviews, (1 - confidence) / 2)
    else:
        low, high = _wilson(share, reviews, float(norm.isf((1 - confidence) / 2)))
    # Rounding must not put a limit on the wrong side of the share.
    return Estimate(value=share, low=max(0.0, min(low, share)), high=min(1.0, max(high, share)))


def _wilson(share: float, reviews: float, z: float) -> tuple[float, float]:
    center = (share + z * z / (2 * reviews)) / (1 + z * z / reviews)
    reach = z / (1 + z * z / reviews) * math.sqrt(share * (1 - share) / reviews + (z / (2 * reviews)) ** 2)
    return center - reach, center + reach


def _clopper_pearson(accepted: float, rejected: float, tail: float) -> tuple[float, float]:
    low = float(beta.ppf(tail, accepted, rejected + 1)) if accepted > 0 else 0.0
    high = float(beta.isf(tail, accepted + 1, rejected)) if rejected > 0 else 1.0
    return low, high
