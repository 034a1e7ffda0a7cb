"""Is one way of training better than another? The seed is the unit: two arms of a seed share world, start and order.

An interval over images says how well one pair of models was measured; only an interval over seeds says what another
run would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.errors import ConfigError


@dataclass(frozen=True)
class SeedDifference:
    """The mean of the differences, its interval by Student's t, and the differences themselves by seed."""

    mean: float
    low: float
    high: float
    share: float
    by_seed: Mapping[int, float]

    @property
    def positive_on(self) -> int:
        """On how many seeds the first arm was better."""
        return sum(value > 0 for value in self.by_seed.values())


def paired_t(ours: Mapping[int, float], theirs: Mapping[int, float], share: float = 0.95) -> SeedDifference:
    """The mean of ours minus theirs over seeds, with its interval (n - 1 degrees of freedom).

    ours, theirs: a number of each arm by seed
    raises:       ConfigError for fewer than two seeds, or for seeds that only one arm has: a missing cell is to be
                  shown as missing, not averaged over
    """
    if ours.keys() != theirs.keys():
        raise ConfigError(
            f"seeds {sorted(ours.keys() ^ theirs.keys())} have only one of the two arms: run the other, or leave "
            "them out"
        )
    if len(ours) < 2:
        raise ConfigError(f"{len(ours)} seed has no spread: an interval over seeds needs two or more")
    if not 0 < share < 1:
        raise ConfigError(f"share {share}: expected a number between 0 and 1")
    differences = {seed: ours[seed] - theirs[seed] for seed in sorted(ours)}
    return _interval(differences, share)


def _interval(differences: Mapping[int, float], share: float) -> SeedDifference:
    from scipy.stats import t

    values: Sequence[float] = list(differences.values())
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(t.ppf((1 + share) / 2, len(values) - 1)) * spread / len(values) ** 0.5
    return SeedDifference(mean, mean - half, mean + half, share, differences)


def better_control(
    student: Mapping[int, float], controls: Mapping[str, Mapping[int, float]], share: float = 0.95
) -> tuple[str, SeedDifference]:
    """(name of the control with the highest mean, the student minus it): the gain that is claimed is over the best."""
    if not controls:
        raise ConfigError("no control to compare with")
    name = max(sorted(controls), key=lambda control: float(np.mean(list(controls[control].values()))))
    return name, paired_t(student, controls[name], share)
