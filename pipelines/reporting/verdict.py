"""Who won, in words, from the numbers alone. A student that loses is said to lose.

A difference counts only if its paired interval excludes zero.
"""

from __future__ import annotations

from typing import Literal

from pipelines.reporting.charts import format_signed
from pipelines.reporting.data import METRICS, Interval, ReportData

Outcome = Literal["won", "lost", "mixed", "open"]
JUDGED = ("tail", "head")
"""What a round is for, and what it must not cost."""


def find_gain(data: ReportData, metric: str) -> Interval | None:
    """Return student minus control: the paired interval if there is one, else the bare difference.

    Return None if one of the two has no number.
    """
    if metric in data.gains:
        return data.gains[metric]
    rows = {row.model: row.metrics.get(metric) for row in data.models}
    student, control = rows.get("student"), rows.get("control")
    if student is None or control is None or student.value is None or control.value is None:
        return None
    return Interval(value=student.value - control.value)


def find_sign(difference: Interval | None) -> int:
    """Return +1 for a gain, -1 for a loss, 0 for a difference that is not significant."""
    if difference is None or difference.low is None or difference.high is None:
        return 0
    return (difference.low > 0) - (difference.high < 0)


def find_outcome(data: ReportData) -> Outcome:
    """Return the round's outcome over rare and frequent concepts."""
    signs = {find_sign(find_gain(data, metric)) for metric in JUDGED}
    if signs >= {1, -1}:
        return "mixed"
    if -1 in signs:
        return "lost"
    return "won" if 1 in signs else "open"


_HEADLINES: dict[Outcome, str] = {
    "won": "The student beats the gold-only control",
    "lost": "The student loses to the gold-only control",
    "mixed": "The student wins on one side and loses on the other",
    "open": "No difference between student and control was detected",
}


def headline(data: ReportData) -> str:
    """Return the outcome in one line."""
    return _HEADLINES[find_outcome(data)]


def list_sentences(data: ReportData) -> list[str]:
    """Return the differences that were judged, one sentence each."""
    told = [
        describe_gain(metric, difference)
        for metric in JUDGED
        if (difference := find_gain(data, metric)) is not None
    ]
    return told or ["Student and control were not both evaluated: this report makes no claim about them."]


def describe_gain(metric: str, difference: Interval) -> str:
    """Return a sentence about the difference in a judged metric."""
    name = {"tail": "rare concepts (tail)", "head": "frequent concepts (head)"}[metric]
    if difference.value is None:
        return f"On {name} the difference does not exist."
    points = f"{format_signed(difference.value)} points of {METRICS[metric].split()[0]}"
    if difference.low is None or difference.high is None:
        return f"On {name}: {points}; without a paired interval this is no claim."
    limits = f"95 % interval {format_signed(difference.low)} to {format_signed(difference.high)}"
    words = {1: "a gain", -1: "a loss", 0: "not distinguishable from zero"}[find_sign(difference)]
    return f"On {name}: {points} ({limits}), {words}."
