"""What a round measures: its three models on every suite, and the student's gain over its control."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.rounds.layout import RoundPlaces
from pipelines.rounds.settings import Measure, RoundsConfig, Suite

Progress = Callable[[str, int, int], None]
MODELS = ("teacher", "control", "student")


def measure_models(
    config: RoundsConfig, places: RoundPlaces, models: Mapping[str, Path], progress: Progress
) -> dict[str, Any]:
    """`{"suites": {suite: {model: evaluation}}, "gain": {"value", "low", "high"} or None}`."""
    from student.evaluate.run import evaluate

    found: dict[str, dict[str, Any]] = {suite.name: {} for suite in config.evaluate}
    for suite in config.evaluate:
        for name in MODELS:
            target = places.results(suite.name, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            found[suite.name][name] = evaluate(
                models[name],
                suite.gold,
                suite.images,
                group_by=suite.group_by,
                protocol=suite.protocol,
                bootstrap=config.draws,
                results_to=target,
                progress=lambda label, done, total, at=f"{suite.name}, {name}": progress(
                    f"{at}: {label}", done, total
                ),
            ).data()
    return {"suites": found, "gain": gain_of(config, places, found)}


def number_of(evaluation: Mapping[str, Any], measure: Measure) -> float | None:
    """A measure's number as a fraction; None where the evaluation has none (COCO's -1, an unknown group)."""
    numbers = evaluation.get("groups", {}).get(measure.group, {}) if measure.group else evaluation
    if measure.name.startswith("R@"):
        value = numbers.get("recall_at", {}).get(measure.name.removeprefix("R@"))
    else:
        value = numbers.get(measure.name)
    return None if value is None or value < 0 else float(value)


def gain_of(
    config: RoundsConfig, places: RoundPlaces, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | None] | None:
    """Student minus control on the target, paired over the images; None where one of them has no number."""
    target = config.target
    student, control = (number_of(found[target.suite][name], target) for name in ("student", "control"))
    if student is None or control is None:
        return None
    if target.name.startswith("R@"):
        return {"value": student - control, "low": None, "high": None}
    suite = next(suite for suite in config.evaluate if suite.name == target.suite)
    return _paired(config, places, suite, found[target.suite]["student"].get("left_out", ()))


def _paired(
    config: RoundsConfig, places: RoundPlaces, suite: Suite, left_out: Sequence[Any]
) -> dict[str, float | None] | None:
    """left_out: images of the gold that no model was asked, which count for none of the numbers"""
    from student.evaluate.gold.load import category_groups, read_gold, select_images
    from student.evaluate.paired import compare_results

    target = config.target
    gold = read_gold(Path(suite.gold))
    gold = select_images(gold, {image["id"] for image in gold["images"]} - set(left_out))
    ours, theirs = (
        json.loads(places.results(suite.name, name).read_text(encoding="utf-8"))
        for name in ("student", "control")
    )
    groups = category_groups(gold, suite.group_by)
    differences = compare_results(
        gold, ours, theirs, groups=groups, names=(target.name,), protocol=suite.protocol, draws=config.draws
    )
    found = differences.get(target.group, {}).get(target.name)
    return None if found is None else {name: float(value) for name, value in found.items()}
