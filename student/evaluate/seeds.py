"""Compare two training methods over seeds. The two runs of a seed share world, start and order.

An interval over images says how well one pair of models was measured. Only an interval over seeds says what another
training run would give.
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
        """The number of seeds on which the first method was better."""
        return sum(value > 0 for value in self.by_seed.values())


def compare_over_seeds(
    ours: Mapping[int, float], theirs: Mapping[int, float], share: float = 0.95
) -> SeedDifference:
    """Return the mean of ours minus theirs over seeds, with its interval (n - 1 degrees of freedom).

    ours, theirs: a number of each method by seed
    raises:       ConfigError for fewer than two seeds, or for a seed that only one method has: a missing cell must be
                  shown as missing, not averaged over
    """
    if ours.keys() != theirs.keys():
        raise ConfigError(
            f"seeds {sorted(ours.keys() ^ theirs.keys())} were run for one method only; run the other, or leave them "
            "out"
        )
    if len(ours) < 2:
        raise ConfigError(f"{len(ours)} seed given; an interval needs at least 2")
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


def compare_with_best_control(
    student: Mapping[int, float], controls: Mapping[str, Mapping[int, float]], share: float = 0.95
) -> tuple[str, SeedDifference]:
    """Return (name of the control with the highest mean, the student minus it).

    A gain must be over the best control.
    """
    if not controls:
        raise ConfigError("no control to compare with: give at least one")
    name = max(sorted(controls), key=lambda control: float(np.mean(list(controls[control].values()))))
    return name, compare_over_seeds(student, controls[name], share)
