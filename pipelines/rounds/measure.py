"""Measure a round: evaluate its three models on every suite, and compute the student's gain over its control."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.rounds.layout import RoundLayout
from pipelines.rounds.results import EvaluationResult, Gain
from pipelines.rounds.settings import Measure, RoundsConfig, Suite
from pipelines.terminal.progress import prefix_progress
from schemas.progress import ProgressCallback
from teacher.registry import TeacherSettings

MODELS = ("teacher", "control", "student")


def measure_models(
    config: RoundsConfig,
    places: RoundLayout,
    models: Mapping[str, Path | TeacherSettings],
    progress: ProgressCallback,
) -> EvaluationResult:
    """Return `{"suites": {suite: {model: evaluation}}, "gain": {"value", "low", "high"} or None}`.

    models: by the names in MODELS, a directory or the settings of a teacher
    """
    from student.evaluate.run import evaluate

    found: dict[str, dict[str, Mapping[str, Any]]] = {suite.name: {} for suite in config.evaluate}
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
                batch_size=16 if isinstance(models[name], Path) else "auto",
                results_to=target,
                progress=prefix_progress(progress, f"{suite.name}, {name}"),
            ).data()
    return {"suites": found, "gain": compute_gain(config, places, found)}


def get_number(evaluation: Mapping[str, Any], measure: Measure) -> float | None:
    """Return a measure's number as a fraction; None if the evaluation has none (COCO's -1, an unknown group)."""
    numbers = evaluation.get("groups", {}).get(measure.group, {}) if measure.group else evaluation
    if measure.name.startswith("R@"):
        value = numbers.get("recall_at", {}).get(measure.name.removeprefix("R@"))
    else:
        value = numbers.get(measure.name)
    return None if value is None or value < 0 else float(value)


def compute_gain(
    config: RoundsConfig, places: RoundLayout, found: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> Gain | None:
    """Return student minus control on the target, paired over images; None if one of them has no number."""
    target = config.target
    student, control = (get_number(found[target.suite][name], target) for name in ("student", "control"))
    if student is None or control is None:
        return None
    if target.name.startswith("R@"):
        return {"value": student - control, "low": None, "high": None}
    suite = next(suite for suite in config.evaluate if suite.name == target.suite)
    return _compute_paired_gain(config, places, suite, found[target.suite]["student"].get("left_out", ()))


def _compute_paired_gain(
    config: RoundsConfig, places: RoundLayout, suite: Suite, left_out: Sequence[int | str]
) -> Gain | None:
    """Compute the gain with its interval. left_out: ids of gold images that no model was asked about."""
    from student.evaluate.gold.load import category_groups, read_gold, select_images
    from student.evaluate.paired import compare_results

    target = config.target
    gold = read_gold(Path(suite.gold))
    gold = select_images(gold, {image["id"] for image in gold["images"]} - set(left_out))
    student, control = (
        json.loads(places.results(suite.name, name).read_text(encoding="utf-8"))
        for name in ("student", "control")
    )
    groups = category_groups(gold, suite.group_by)
    differences = compare_results(
        gold,
        student,
        control,
        groups=groups,
        names=(target.name,),
        protocol=suite.protocol,
        draws=config.draws,
    )
    found = differences.get(target.group, {}).get(target.name)
    if found is None:
        return None
    return {"value": float(found["value"]), "low": float(found["low"]), "high": float(found["high"])}
