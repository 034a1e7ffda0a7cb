"""Teacher, control and student on the held-out scenes, through `evaluate`; and what the student gained, paired."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipelines.demo.layout import TRAINED, Places

DRAWS = 200


def evaluate_models(places: Places, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """`{"models": {name: evaluation}, "gains": {group: {name: difference of student and control}}}`."""
    from student.evaluate.gold.load import category_groups, read_gold
    from student.evaluate.paired import compare_results
    from student.evaluate.run import evaluate

    coco = places.world.test_coco
    found, results = {}, {}
    for name in TRAINED:
        found[name] = evaluate(
            places.model(name),
            coco,
            coco.parent / "images",
            group_by="supercategory",
            bootstrap=DRAWS,
            results_to=places.results(name),
            progress=lambda label, done, total, name=name: progress(f"{name}: {label}", done, total),
        ).data()
        results[name] = json.loads(places.results(name).read_text())
    gold = read_gold(coco)
    groups = category_groups(gold, "supercategory")
    gains = compare_results(
        gold, results["student"], results["control"], groups=groups, names=("AP", "AP50"), draws=DRAWS
    )
    return {"models": found, "gains": gains}
