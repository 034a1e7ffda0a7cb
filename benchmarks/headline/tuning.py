"""Equal numbers of tuning runs for student and control, on seeds that no table reports.

Promise: an option is chosen by one rule for both, AP over all nouns plus Recall@1 on the mean of the tuning seeds. The
student's is chosen first, and the control's are tried in the prompt mix of that one. What was tried and what came out
stands in `tuned.json`, which the reported runs read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.headline.arms import Arms
from benchmarks.headline.cells import Cell, CellStore
from pipelines.demo.recipe import Recipe

SEEDS = (100, 101)
SHOWN = ("tail", "head", "AP", "recall")
JUDGED = ("AP", "recall")
ORDER = ("student", "control")  # in which they are tuned
PATH = Path(__file__).parent / "tuned.json"
_SIXTY: dict[str, Any] = {"gold_prompts": {"detection": 0.6, "phrase_list": 0.3, "caption": 0.1}}
_PLACE: dict[str, Any] = {"policy": {"class_only_below": 0.5}}
_LAST: dict[str, Any] = {"pseudo_until": 0.8}
_FAST: dict[str, Any] = {"student_learning_rate": 1.5e-3}
# Fields of the recipe that differ from its defaults; as many options for the one as for the other.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "student": {
        "as it stands": {},
        "gold slots 60 % detection prompts": _SIXTY,
        "60 %, below score 0.5 no place learned": {**_SIXTY, **_PLACE},
        "last fifth of the steps gold alone": _LAST,
        "60 %, last fifth gold": {**_SIXTY, **_LAST},
        "60 %, last fifth gold, below 0.5 no place": {**_SIXTY, **_LAST, **_PLACE},
        "60 %, half the slots web": {**_SIXTY, "pseudo_share": 0.5},
        "60 %, learning rate 1.5e-3": {**_SIXTY, **_FAST},
        "60 %, last fifth gold, learning rate 1.5e-3": {**_SIXTY, **_LAST, **_FAST},
        "60 %, last fifth gold, half the slots web": {**_SIXTY, **_LAST, "pseudo_share": 0.5},
    },
    "control": {
        "rare gold repeated, threshold 0.1": {},
        "threshold 0.3": {"control_repeat_threshold": 0.3},
        "threshold 0.5": {"control_repeat_threshold": 0.5},
        "no repeats": {"control_repeat_threshold": 0.0},
        "half of 70 % of the prompts captions": {
            "control_prompts": {"detection": 0.5, "phrase_list": 0.0, "caption": 0.5}
        },
        "at most 6 negatives": {"control_negatives_max": 6},
        "threshold 0.3, at most 6 negatives": {
            "control_repeat_threshold": 0.3,
            "control_negatives_max": 6,
        },
        "learning rate 2e-3": {"control_learning_rate": 2e-3},
        "threshold 0.3, learning rate 2e-3": {
            "control_repeat_threshold": 0.3,
            "control_learning_rate": 2e-3,
        },
        "learning rate 7e-4": {"control_learning_rate": 7e-4},
    },
}


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed, a policy's fields one by one."""
    values = recipe.model_dump()
    for name, value in changes.items():
        values[name] = {**values[name], **value} if name == "policy" else value
    return Recipe.model_validate(values)


def options(recipe: Recipe, arm: str, seeds: Sequence[int] = SEEDS) -> dict[tuple[str, int], Cell]:
    """Return the evaluation of every option of an arm by (option, seed)."""
    return {
        (option, seed): Arms(changed(recipe, changes), seed, note=option).arm(arm)
        for seed in seeds
        for option, changes in OPTIONS[arm].items()
    }


def measure_options(
    recipe: Recipe, arm: str, store: CellStore, seeds: Sequence[int] = SEEDS
) -> dict[str, dict[str, Any]]:
    """Return what each option of an arm changes, and its numbers by seed, or None if it has not run."""
    rows: dict[str, dict[str, Any]] = {}
    for (option, seed), cell in options(recipe, arm, seeds).items():
        found = store.result(cell)
        row = rows.setdefault(option, {"changes": OPTIONS[arm][option], "by_seed": {}})
        row["by_seed"][str(seed)] = found and {name: round(found[name], 4) for name in SHOWN}
    return rows


def after(recipe: Recipe, arm: str, store: CellStore, seeds: Sequence[int] = SEEDS) -> Recipe | None:
    """Return the recipe with the best option of an arm, or None while one has not run."""
    best = _best(measure_options(recipe, arm, store, seeds))
    return None if best is None else changed(recipe, OPTIONS[arm][best])


def write_choice(recipe: Recipe, store: CellStore, seeds: Sequence[int] = SEEDS, path: Path = PATH) -> bool:
    """Write `tuned.json` from the cells that are done; returns whether a choice was made.

    It is made for both arms or for none: a tuned student beside an untuned control would be no fair comparison.
    """
    numbers: dict[str, dict[str, Any]] = {}
    for arm in ORDER:
        numbers[arm] = measure_options(recipe, arm, store, seeds)
        recipe = after(recipe, arm, store, seeds) or recipe
    best = {arm: _best(rows) for arm, rows in numbers.items()}
    chosen = best if all(best.values()) else dict.fromkeys(best)
    record = {"seeds": list(seeds), "options": numbers, "chosen": chosen}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return all(chosen.values())


def _best(rows: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the option with the greatest sum, the first of equal ones, or None while one is missing."""
    if any(found is None for row in rows.values() for found in row["by_seed"].values()):
        return None
    return max(rows, key=lambda option: score(rows[option]))


def score(row: Mapping[str, Any]) -> float:
    """Return the sum of the judged numbers, on the mean of the seeds."""
    seeds = row["by_seed"].values()
    return float(sum(found[name] for found in seeds for name in JUDGED) / len(seeds))


def tuned(recipe: Recipe, path: Path = PATH) -> Recipe:
    """Return the recipe with the choices for student and control, or unchanged if nothing was chosen yet."""
    if not path.exists():
        return recipe
    record = json.loads(path.read_text(encoding="utf-8"))
    for arm, option in record["chosen"].items():
        if option is not None:
            recipe = changed(recipe, record["options"][arm][option]["changes"])
    return recipe
