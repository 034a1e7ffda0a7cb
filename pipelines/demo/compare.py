"""Teacher, control and student on the held-out scenes, through `evaluate`; and what the student gained, paired."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.demo.world.build import World

DRAWS = 200


def evaluate_models(
    models: Mapping[str, Path], world: World, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """`{"models": {name: evaluation}, "gains": {group: {name: difference of student and control}}}`."""
    from student.evaluate.gold import category_groups, read_gold
    from student.evaluate.paired import paired_differences
    from student.evaluate.run import evaluate

    images = world.test_coco.parent / "images"
    found, results = {}, {}
    for name, model in models.items():
        file = model.parent / "test_results.json"
        found[name] = evaluate(
            model,
            world.test_coco,
            images,
            group_by="supercategory",
            bootstrap=DRAWS,
            results_to=file,
            progress=lambda label, done, total, name=name: progress(f"{name}: {label}", done, total),
        ).data()
        results[name] = json.loads(file.read_text())
    gold = read_gold(world.test_coco)
    groups = category_groups(gold, "supercategory")
    gains = paired_differences(gold, results["student"], results["control"], groups=groups, draws=DRAWS)
    return {"models": found, "gains": gains}
