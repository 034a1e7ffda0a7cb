"""The headline's plot as SVG: every seed a line across the arms, the means with their t intervals beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.headline.tables import METRICS, Numbers
from student.evaluate.seeds import compare_over_seeds

PANELS = ("tail", "head", "recall")
LABELS = {"teacher": "teacher", "plain": "(a)", "control": "(b)", "shuffled": "(c)", "student": "student"}


def write_plot(path: Path, numbers: Numbers, arms: Sequence[str]) -> None:
    """Three panels side by side. No clock and no random ids: equal numbers give an equal file."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    shown = [arm for arm in arms if numbers.get(arm)]
    style: dict[Any, object] = {"svg.hashsalt": "headline", "svg.fonttype": "none", "font.size": 9}
    with pyplot.rc_context(style):
        figure, panels = pyplot.subplots(1, len(PANELS), figsize=(9, 3.2), layout="constrained")
        for panel, metric in zip(panels, PANELS, strict=True):
            _panel(panel, {arm: numbers[arm] for arm in shown}, metric)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _panel(panel: Any, numbers: Mapping[str, Mapping[int, Mapping[str, float]]], metric: str) -> None:
    seeds = sorted({seed for own in numbers.values() for seed in own})
    for seed in seeds:
        points = [(x, 100 * own[seed][metric]) for x, own in enumerate(numbers.values()) if seed in own]
        panel.plot(*zip(*points), color="0.75", linewidth=0.8, marker=".", markersize=3)
    for x, own in enumerate(numbers.values()):
        _mean(panel, x, {seed: 100 * found[metric] for seed, found in own.items()})
    panel.set_title(f"{METRICS[metric]}, percent")
    panel.set_xticks(range(len(numbers)), [LABELS.get(arm, arm) for arm in numbers])
    panel.margins(x=0.1)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _mean(panel: Any, x: int, column: Mapping[int, float]) -> None:
    """Draw a dot, with a bar for the interval if there are two seeds or more."""
    if len(column) < 2:
        panel.plot([x], list(column.values()), marker="o", color="tab:blue")
        return
    found = compare_over_seeds(column, dict.fromkeys(column, 0.0))
    half = found.high - found.mean
    panel.errorbar([x], [found.mean], yerr=[half], marker="o", capsize=4, color="tab:blue", linewidth=1.6)
