"""Probability and loss weight of a kept region, as pure functions of its raw score.

`docs/policy.md` says what they mean to the loss.
"""

# R regions
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from schemas.settings import Settings

WeightRule = Literal["one", "score", "ramp", "p_correct"]
Share = Annotated[float, Field(ge=0, le=1)]
Floats = NDArray[np.float64]


class Calibration(Settings):
    """A measured curve from one teacher's raw score to the share of its regions that are right."""

    score_kind: str = Field(description="the kind of raw score that was measured, as the evidence names it")
    points: tuple[tuple[Share, Share], ...] = Field(
        min_length=2,
        description="(raw score, share right), both ascending; linear between them, level beyond the ends",
    )

    @model_validator(mode="after")
    def _check_ascending(self) -> Calibration:
        scores, shares = zip(*self.points, strict=True)
        if any(b <= a for a, b in _pairs(scores)) or any(b < a for a, b in _pairs(shares)):
            raise ValueError(
                f"calibration points {[list(point) for point in self.points]}: scores must rise, and shares not fall"
            )
        return self


def _pairs(values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(values, values[1:]))


def interpolate_p_correct(scores_R: Floats, calibration: Calibration) -> Floats:
    """Return [R] the probability in [0, 1] that a region is right, by linear interpolation."""
    known, shares = zip(*calibration.points, strict=True)
    return np.asarray(np.interp(scores_R, known, shares))


def compute_weights(
    scores_R: Floats, p_correct_R: Floats | None, rule: WeightRule, ramp: tuple[float, float] | None
) -> Floats:
    """Return [R] the weight in [0, 1] of each region's terms in the loss.

    ramp:        only for the rule `ramp`
    p_correct_R: only for the rule `p_correct`
    """
    if rule == "score":
        return np.clip(scores_R, 0, 1)
    if rule == "ramp":
        assert ramp is not None, "a policy of weight ramp has one"
        return np.clip((scores_R - ramp[0]) / (ramp[1] - ramp[0]), 0, 1)
    if rule == "p_correct":
        assert p_correct_R is not None, "a policy of weight p_correct has a calibration"
        return p_correct_R
    return np.ones(len(scores_R))
