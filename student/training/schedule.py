"""Learning rate and weight decay of each step: a warm-up, then the schedule in the settings."""

from __future__ import annotations

import math

from student.settings.train import TrainSettings


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Return the rate of step 0, 1, ... A parameter group multiplies it by its own factor.

    The first step of a warm-up from zero is above zero. A warm-up that starts higher begins at `warmup_start`, as the
    GLIP authors' does. Its milestones also apply during the warm-up.
    """
    if settings.schedule == "multistep":
        factor = _multistep(step, settings, [round(share * settings.steps) for share in settings.milestones])
    elif settings.schedule == "cosine" and step >= settings.warmup_steps:
        factor = _cosine(step, settings)
    else:
        factor = 1.0
    return settings.learning_rate * factor * _warmup(step, settings)


def weight_decay(step: int, settings: TrainSettings) -> float:
    """Return the weight decay of a step. Source: the authors' WEIGHT_DECAY_SCHEDULE of GLIP-L."""
    share = settings.weight_decay_steps
    if share is None:
        return settings.weight_decay
    milestones = [share * round(milestone * settings.steps) for milestone in settings.milestones]
    return settings.weight_decay * _multistep(step, settings, milestones)


def _warmup(step: int, settings: TrainSettings) -> float:
    if step >= settings.warmup_steps:
        return 1.0
    if not settings.warmup_start:
        return (step + 1) / settings.warmup_steps
    done = step / settings.warmup_steps
    return settings.warmup_start * (1 - done) + done


def _cosine(step: int, settings: TrainSettings) -> float:
    done = (step - settings.warmup_steps) / max(1, settings.steps - 1 - settings.warmup_steps)
    floor = settings.final_learning_rate
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _multistep(step: int, settings: TrainSettings, milestones: list[int] | list[float]) -> float:
    return settings.milestone_factor ** sum(step >= milestone for milestone in milestones)
