"""The stop rules of a round (`brakes` in its settings): pure functions of what the round measured.

A rule never passes on a missing number. What could not be measured stops the round, with that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from engine.ledger.snapshots.summary import Summary
from pipelines.label.rejection_limit import judge
from pipelines.rounds.results import BoxesPerImage, Gain
from pipelines.rounds.settings import AuditGate, Brakes, GuardMeasure, Measure
from pipelines.steps.outputs import AuditOutput
from schemas.records import Record

POINT = 100.0


class StopReason(Record):
    """One reason to stop, with the measured number and its limit."""

    brake: str
    measured: float | None = Field(description="null: it could not be measured")
    limit: float
    why: str
    remedy: str


def judge_labels(summary: Summary, max_rejected: float) -> Iterator[StopReason]:
    """Judge the summary of `label` by its rejected samples."""
    found = judge(summary, max_rejected)
    if not found.is_passed:
        yield StopReason(
            brake="max_rejected",
            measured=found.share,
            limit=max_rejected,
            why="; ".join([found.why(), *found.reasons()]),
            remedy=found.remedy(),
        )


def judge_view(brakes: Brakes, boxes: BoxesPerImage, decoys: Sequence[float | None]) -> Iterator[StopReason]:
    """Judge the view. boxes: mean per image with a box, in `gold` and `pseudo`; decoys: false share of each round."""
    ratio = boxes["pseudo"] / boxes["gold"] if boxes["gold"] else None
    if ratio is None or ratio > brakes.boxes_per_image:
        yield StopReason(
            brake="boxes_per_image",
            measured=ratio,
            limit=brakes.boxes_per_image,
            why=f"pseudo-labeled images have {boxes['pseudo']:.1f} boxes on average, gold images {boxes['gold']:.1f}",
            remedy="raise the policy's min_score or cap max_regions_per_phrase",
        )
    first, now = decoys[0], decoys[-1]
    if first is None and now is None:
        return  # the job has no decoys
    rise = None if first is None or now is None else now - first
    if rise is None or rise > brakes.decoy_rise:
        yield StopReason(
            brake="decoy_rise",
            measured=rise,
            limit=brakes.decoy_rise,
            why=f"decoys with a box: {_percent(now)}, in round 1 {_percent(first)}",
            remedy="raise the policy's min_score, or keep the student of the previous round",
        )


def judge_audit(gate: AuditGate, findings: AuditOutput | None, folder: str) -> Iterator[StopReason]:
    """Judge the audit. findings: the JSON of `audit report`; None if nobody has reviewed the sample."""
    low = None if findings is None else findings["precision"]["low"]
    if findings is None or findings["pending"]:
        left = "no verdict" if findings is None else f"{findings['pending']} regions without a verdict"
        yield StopReason(
            brake="audit",
            measured=low,
            limit=gate.min_precision,
            why=f"the audit of the view is not finished: {left}",
            remedy=f"review the sample with `groundswell audit serve {folder}`, then run this command again",
        )
    elif low is None or low < gate.min_precision:
        yield StopReason(
            brake="audit",
            measured=low,
            limit=gate.min_precision,
            why=f"the lower end of the precision's interval is {_percent(low)}",
            remedy="make the policy stricter, or review more regions if the interval is wide",
        )


def judge_evaluation(
    brakes: Brakes,
    target: Measure,
    gain: Gain | None,
    guards: Sequence[GuardMeasure],
    numbers: Mapping[str, Mapping[str, float | None]],
) -> Iterator[StopReason]:
    """Judge the evaluation. gain: student minus control, with `value`, `low`, `high`; numbers: by guard, then model."""
    measured = None if gain is None else gain["low"] if brakes.gain_interval else gain["value"]
    if measured is None or measured <= brakes.min_gain:
        what = "the lower end of its interval" if brakes.gain_interval else "it"
        yield StopReason(
            brake="min_gain",
            measured=measured,
            limit=brakes.min_gain,
            why=f"the student's gain over the control in {target.label()} is {_format_gain(gain)}; {what} must be "
            f"above {POINT * brakes.min_gain:g} points",
            remedy="the labels did not help: audit the view and change the policy or the teacher, or end here"
            if measured is not None
            else f"check that the suite {target.suite} has that group and number; if not, choose another target",
        )
    for guard in guards:
        yield from _judge_forgetting(guard, numbers[guard.label()])


def _judge_forgetting(guard: GuardMeasure, numbers: Mapping[str, float | None]) -> Iterator[StopReason]:
    student, teacher = numbers["student"], numbers["teacher"]
    lost = None if student is None or teacher is None else teacher - student
    if lost is None or lost > guard.budget:
        yield StopReason(
            brake="forgetting",
            measured=lost,
            limit=guard.budget,
            why=f"{guard.label()}: the teacher has {_percent(teacher)}, the student {_percent(student)}",
            remedy="raise the share of gold, train for fewer steps, or average the student with its teacher",
        )


def _percent(value: float | None) -> str:
    return "no number" if value is None else f"{POINT * value:.1f} %"


def _format_gain(gain: Gain | None) -> str:
    if gain is None or gain["value"] is None:
        return "not measurable"
    value = f"{POINT * gain['value']:+.1f} points"
    if gain["low"] is None or gain["high"] is None:
        return value
    return f"{value} [{POINT * gain['low']:+.1f}, {POINT * gain['high']:+.1f}]"
