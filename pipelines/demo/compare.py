"""Evaluate teacher, control and student on the held-out scenes, and compute the student's paired gain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pipelines.demo.layout import TRAINED, DemoLayout
from pipelines.demo.results import Comparison
from pipelines.steps.outputs import IntervalOutput
from pipelines.terminal.progress import prefix_progress
from schemas.progress import ProgressCallback

DRAWS = 200


def evaluate_models(places: DemoLayout, progress: ProgressCallback) -> Comparison:
    """Return `{"models": {name: evaluation}, "gains": {group: {name: difference of student and control}}}`."""
    from student.evaluate.gold.load import category_groups, read_gold
    from student.evaluate.paired import compare_results
    from student.evaluate.run import evaluate

    coco = places.world.test_coco
    evaluations: dict[str, Mapping[str, Any]] = {}
    results = {}
    for name in TRAINED:
        evaluations[name] = evaluate(
            places.model(name),
            coco,
            coco.parent / "images",
            group_by="supercategory",
            bootstrap=DRAWS,
            results_to=places.results(name),
            progress=prefix_progress(progress, name),
        ).data()
        results[name] = json.loads(places.results(name).read_text())
    gold = read_gold(coco)
    groups = category_groups(gold, "supercategory")
    gains = compare_results(
        gold, results["student"], results["control"], groups=groups, names=("AP", "AP50"), draws=DRAWS
    )
    return {"models": evaluations, "gains": cast(dict[str, dict[str, IntervalOutput]], gains)}
