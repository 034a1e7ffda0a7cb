"""The tables of docs/headline.md from what is done: means over seeds with t intervals, and what is missing.

Promise: two arms are compared on the seeds that both have, and a table says of how many seeds its numbers are; nothing
missing is filled in. All numbers are percent, differences are points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from student.evaluate.seeds import SeedDifference, compare_over_seeds, compare_with_best_control

METRICS = {
    "tail": "tail AP",
    "head": "head AP",
    "recall": "Recall@1",
    "recall_head": "Recall@1 head",
    "recall_tail": "Recall@1 tail",
}
NAMES = {
    "teacher": "teacher",
    "plain": "(a) plain gold",
    "control": "(b) gold, the student's prompts, rare gold repeated",
    "shuffled": "(c) student, captions shuffled",
    "student": "**student**",
}
CONTROLS = ("plain", "control")
NOTHING = "-"
# arm -> seed -> number -> value as a fraction
Numbers = Mapping[str, Mapping[int, Mapping[str, float]]]


def arms_table(numbers: Numbers, arms: Sequence[str], seeds: Sequence[int]) -> str:
    """One line an arm: the mean of each number over the seeds that it has, with its 95 % t interval."""
    lines = _head(["arm", *METRICS.values(), "seeds"])
    for arm in arms:
        own = numbers.get(arm, {})
        cells = [_mean(_column(own, metric)) for metric in METRICS]
        lines.append(_line([NAMES.get(arm, arm), *cells, f"{len(own)} of {len(seeds)}"]))
    return "\n".join(lines)


def gains_table(numbers: Numbers, seeds: Sequence[int]) -> str:
    """Paired differences: student minus (a), minus (b), minus the better of them by each number, and (c) minus (a)."""
    pairs = [("student", "plain"), ("student", "control"), ("student", None), ("shuffled", "plain")]
    lines = _head(["points", *METRICS.values(), "seeds"])
    for ours, theirs in pairs:
        found = {metric: gain(numbers, metric, ours, theirs) for metric in METRICS}
        name = f"{_short(ours)} minus {_short(theirs) if theirs else 'the better control'}"
        shared = max((len(one.by_seed) for one in found.values() if one), default=0)
        cells = [_difference(one) for one in found.values()]
        lines.append(_line([name, *cells, f"{shared} of {len(seeds)}"]))
    return "\n".join(lines)


def gain(numbers: Numbers, metric: str, ours: str, theirs: str | None) -> SeedDifference | None:
    """Ours minus theirs, or minus the better fair control on the mean; None with fewer than two shared seeds."""
    names = CONTROLS if theirs is None else (theirs,)
    if any(name not in numbers for name in (ours, *names)):
        return None
    columns = {name: _column(numbers[name], metric) for name in (ours, *names)}
    shared = set.intersection(*(set(column) for column in columns.values()))
    if len(shared) < 2:
        return None
    kept = {name: {seed: column[seed] for seed in shared} for name, column in columns.items()}
    if theirs is None:
        return compare_with_best_control(kept[ours], {name: kept[name] for name in CONTROLS})[1]
    return compare_over_seeds(kept[ours], kept[theirs])


def seeds_table(numbers: Numbers, arms: Sequence[str], seeds: Sequence[int], metric: str) -> str:
    """One number of every arm and seed."""
    lines = _head([METRICS[metric], *map(str, seeds)])
    for arm in arms:
        own = _column(numbers.get(arm, {}), metric)
        lines.append(_line([_short(arm), *(_percent(own.get(seed)) for seed in seeds)]))
    return "\n".join(lines)


def verdicts(numbers: Numbers, seeds: Sequence[int]) -> str:
    """Return the targets, each met, not met or not measured, and the number of seeds if some are missing."""
    found = {metric: gain(numbers, metric, "student", None) for metric in METRICS}
    tail, head, recall = found["tail"], found["head"], found["recall"]
    shuffled = gain(numbers, "tail", "shuffled", "plain")
    claims = [
        (
            "tail AP at least 10 points above the better control on average",
            _judge(tail, lambda one: one.mean >= 0.1),
        ),
        (
            "positive on every seed",
            _judge(tail, lambda one: len(one.by_seed) == one.positive_on == len(seeds)),
        ),
        ("interval above zero", _judge(tail, lambda one: one.low > 0)),
        ("head AP not below by more than 1 point", _judge(head, lambda one: one.mean >= -0.01)),
        ("Recall@1 over all phrases not below", _judge(recall, lambda one: one.mean >= 0)),
        ("tail AP of (c) within noise of (a)", _judge(shuffled, lambda one: one.low <= 0 <= one.high)),
    ]
    measured = min((len(one.by_seed) for one in (tail, head, recall, shuffled) if one), default=0)
    partly = f" (of {measured} of {len(seeds)} seeds)" if 0 < measured < len(seeds) else ""
    return "\n".join(f"- {claim}: {_verdict(held)}" + partly * (held is not None) for claim, held in claims)


def _judge(found: SeedDifference | None, holds: Callable[[SeedDifference], bool]) -> bool | None:
    """Return whether a claim holds of a difference; None if there is no difference yet."""
    return None if found is None else holds(found)


def _verdict(held: bool | None) -> str:
    return "not measured yet" if held is None else "met" if held else "**not met**"


def missing_list(reasons: Iterable[str]) -> str:
    """List what is missing, by name and reason."""
    lines = [f"- {reason}" for reason in reasons]
    return "\n".join(["Missing:", *lines]) if lines else ""


def difference_cells(
    numbers: Numbers, arm: str, against: str, metrics: Sequence[str], seeds: Sequence[int]
) -> list[str]:
    """For a row of the full table: the arm's means, then its differences, then of how many seeds."""
    own = numbers.get(arm, {})
    shared = len(set(own) & set(numbers.get(against, {})))
    means = [_percent(_average(_column(own, metric))) for metric in metrics]
    gains = [_difference(gain(numbers, metric, arm, against)) for metric in metrics]
    return [*means, *gains, f"{shared} of {len(seeds)}"]


def _column(by_seed: Mapping[int, Mapping[str, float]], metric: str) -> dict[int, float]:
    """One number by seed, without those that had nothing to measure."""
    return {seed: found[metric] for seed, found in by_seed.items() if found[metric] >= 0}


def _average(column: Mapping[int, float]) -> float | None:
    return float(np.mean(list(column.values()))) if column else None


def _mean(column: Mapping[int, float]) -> str:
    if len(column) < 2:
        return _percent(_average(column))
    found = compare_over_seeds(column, dict.fromkeys(column, 0.0))
    return f"{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _difference(found: SeedDifference | None) -> str:
    if found is None:
        return NOTHING
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"


def _short(arm: str) -> str:
    """Return the letter of an arm that has one."""
    letters = {"plain": "(a)", "control": "(b)", "shuffled": "(c)"}
    return letters.get(arm, arm)


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), "|" + "---|" * len(names)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([*_head(head), *map(_line, rows)])
