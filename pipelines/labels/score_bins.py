"""Equal bins of raw score over [0, 1], as histograms of evidence and views use them."""

from __future__ import annotations

SCORE_BINS = 20


def score_bin(score: float) -> int:
    """Return the index of the bin that contains the score. A score of 1.0 is in the last bin."""
    return min(max(int(score * SCORE_BINS + 1e-6), 0), SCORE_BINS - 1)  # 0.7 in float32 is 0.69999999


def bin_names() -> list[str]:
    """Return the range of each bin as text."""
    return [f"{number / SCORE_BINS:.2f}-{(number + 1) / SCORE_BINS:.2f}" for number in range(SCORE_BINS)]
