"""Brakes: why a round must stop, each with its number and its limit. Pure functions of what the round measured.

Its promise: a brake never passes on a number that is missing. What could not be measured stops the round and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from pipelines.label.rejection_limit import judge
from pipelines.rounds.settings import AuditGate, Brakes, Guard, Measure
from schemas.records import Record

POINT = 100.0


class Stop(Record):
    """One reason to stop."""

    brake: str
    measured: float | None = Field(description="null: it could not be measured")
    limit: float
    why: str
    remedy: str


def after_label(summary: Mapping[str, Any], max_rejected: float) -> Iterator[Stop]:
    """summary: what `label` gives back."""
    found = judge(dict(summary), max_rejected)
    if not found.is_passed:
        yield Stop(
            brake="max_rejected",
            measured=found.share,
            limit=max_rejected,
            why="; ".join([found.why(), *found.reasons()]),
            remedy=found.remedy(),
        )


def after_compile(
    brakes: Brakes, boxes: Mapping[str, float], decoys: Sequence[float | None]
) -> Iterator[Stop]:
    """boxes: mean boxes of an image with a box, in `gold` and `pseudo`; decoys: each round's false share so far."""
    ratio = boxes["pseudo"] / boxes["gold"] if boxes["gold"] else None
    if ratio is None or ratio > brakes.boxes_per_image:
        yield Stop(
            brake="boxes_per_image",
            measured=ratio,
            limit=brakes.boxes_per_image,
            why=f"pseudo images hold {boxes['pseudo']:.1f} boxes each, gold images {boxes['gold']:.1f}",
            remedy="raise the policy's min_score or cap max_regions_per_phrase",
        )
    first, now = decoys[0], decoys[-1]
    if first is None and now is None:
        return  # none were asked for
    rise = None if first is None or now is None else now - first
    if rise is None or rise > brakes.decoy_rise:
        yield Stop(
            brake="decoy_rise",
            measured=rise,
            limit=brakes.decoy_rise,
            why=f"decoys with a box: {_percent(now)}, in round 1 {_percent(first)}",
            remedy="raise the policy's min_score, or end with the round before",
        )


def after_audit(gate: AuditGate, findings: Mapping[str, Any] | None, folder: str) -> Iterator[Stop]:
    """findings: what `audit report` says; None when nobody has reviewed the sample."""
    low = None if findings is None else findings["precision"]["low"]
    if findings is None or findings["pending"]:
        left = "no verdict" if findings is None else f"{findings['pending']} regions without a verdict"
        yield Stop(
            brake="audit",
            measured=low,
            limit=gate.min_precision,
            why=f"the audit of the view waits for its reviewer: {left}",
            remedy=f"run `groundswell audit serve {folder}`, then this command again",
        )
    elif low is None or low < gate.min_precision:
        yield Stop(
            brake="audit",
            measured=low,
            limit=gate.min_precision,
            why=f"the precision's interval begins at {_percent(low)}",
            remedy="make the policy stricter; review more regions where the interval is wide",
        )


def after_evaluate(
    brakes: Brakes,
    target: Measure,
    gain: Mapping[str, float | None] | None,
    guards: Sequence[Guard],
    numbers: Mapping[str, Mapping[str, float | None]],
) -> Iterator[Stop]:
    """gain: student minus control on the target, with `value`, `low`, `high`; numbers: guard label by model."""
    measured = None if gain is None else gain["low" if brakes.gain_interval else "value"]
    if measured is None or measured <= brakes.min_gain:
        what = "the low end of its interval" if brakes.gain_interval else "it"
        yield Stop(
            brake="min_gain",
            measured=measured,
            limit=brakes.min_gain,
            why=f"the student's gain over the control in {target.label()} is {_gain(gain)}; {what} must be above "
            f"{POINT * brakes.min_gain:g} points",
            remedy="the labels did not help: audit the view, change policy or teacher; or end here"
            if measured is not None
            else f"look whether the suite {target.suite} has that group and number; if not, name another target",
        )
    for guard in guards:
        yield from _forgetting(guard, numbers[guard.label()])


def _forgetting(guard: Guard, numbers: Mapping[str, float | None]) -> Iterator[Stop]:
    student, teacher = numbers["student"], numbers["teacher"]
    lost = None if student is None or teacher is None else teacher - student
    if lost is None or lost > guard.budget:
        yield Stop(
            brake="forgetting",
            measured=lost,
            limit=guard.budget,
            why=f"{guard.label()}: the teacher has {_percent(teacher)}, the student {_percent(student)}",
            remedy="raise the share of gold, train shorter, or average the student with its teacher",
        )


def _percent(value: float | None) -> str:
    return "no number" if value is None else f"{POINT * value:.1f} %"


def _gain(gain: Mapping[str, float | None] | None) -> str:
    if gain is None or gain["value"] is None:
        return "not measurable"
    value = f"{POINT * gain['value']:+.1f} points"
    if gain["low"] is None or gain["high"] is None:
        return value
    return f"{value} [{POINT * gain['low']:+.1f}, {POINT * gain['high']:+.1f}]"
