"""The learning rate of each step: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math

from student.settings import TrainSettings


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The rate of step 0, 1, ...; it ends at `final_learning_rate` times the largest."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - 1 - settings.warmup_steps)
    floor = settings.final_learning_rate
    return settings.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
