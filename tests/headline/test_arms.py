"""The arms are comparable: what they share is one cell, and what may differ is all that differs."""

from __future__ import annotations

import pytest

from benchmarks.headline.arms import WORLDS, Arms
from benchmarks.headline.cells import LAST, Cell, in_order
from benchmarks.headline.report import base_targets, full_targets, task_targets
from benchmarks.headline.rows import BASE_ARMS, FULL_ROWS, MODELS
from benchmarks.headline.tuning import OPTIONS, changed
from pipelines.demo.recipe import Recipe

SHARED = (
    "steps",
    "batch_size",
    "augment",
    "hard_negatives",
    "learning_rate",
    "warmup_steps",
    "seed",
    "start",
)


def trained(arm: str, arms: Arms) -> Cell:
    return arms.arm(arm).inputs["model"]


@pytest.mark.parametrize("arm", ["plain", "control", "shuffled"])
def test_an_arm_shares_all_but_its_data_with_the_student(arm: str) -> None:
    arms = Arms(Recipe(), 5)
    ours, student = trained(arm, arms), trained("student", arms)

    assert {name: ours.settings[name] for name in SHARED} == {name: student.settings[name] for name in SHARED}
    assert ours.inputs["start"].digest == student.inputs["start"].digest
    assert arms.arm(arm).inputs["test"].digest == arms.arm("student").inputs["test"].digest


def test_the_shuffled_arm_is_the_student_on_labels_of_shuffled_captions() -> None:
    arms = Arms(Recipe(), 5)
    ours, student = trained("shuffled", arms), trained("student", arms)

    assert ours.settings == student.settings
    evidence = ours.inputs["view"].inputs["evidence"]
    assert evidence.inputs["web"].settings["captions"] == "shuffled"
    assert evidence.inputs["teacher"].digest == student.inputs["start"].digest


def test_every_seed_draws_its_own_gold_web_test_and_start() -> None:
    first, second = (Arms(Recipe(), seed) for seed in (1, 2))

    for part in ("gold", "web"):
        assert getattr(first, part).digest != getattr(second, part).digest
    assert first.start().digest != second.start().digest
    assert trained("plain", first).settings["seed"] == 1


@pytest.mark.parametrize("world", sorted(set(WORLDS) - {"base"}))
def test_a_hard_world_changes_the_web_and_not_the_controls(world: str) -> None:
    base, hard = Arms(Recipe(), 3), Arms(Recipe(), 3, world)

    assert hard.web.digest != base.web.digest
    for arm in ("teacher", "plain", "control"):
        assert hard.arm(arm).digest == base.arm(arm).digest
    assert hard.arm("student").digest != base.arm("student").digest


def test_every_row_of_the_full_table_can_be_planned_and_every_arm_is_in_one() -> None:
    targets = full_targets(Recipe(), (1,))
    kinds = {cell.kind for cell in in_order([*targets.values(), *task_targets(Recipe(), (1,)).values()])}

    named = {arm for row in FULL_ROWS for arm in (row.arm, row.against)}
    assert named == MODELS.keys()
    assert {"gold", "web", "recaptioned", "task", "start", "evidence", "view", "changed_view"} <= kinds


def test_the_base_grid_has_five_arms_a_seed_and_shares_one_teacher() -> None:
    cells = in_order(base_targets(Recipe(), (1, 2)).values())
    kinds = [cell.kind for cell in cells]

    assert kinds.count("evaluate") == 2 * len(BASE_ARMS) == 10
    assert kinds.count("train") == 10 and kinds.count("start") == 2


def test_every_tuning_option_is_a_valid_recipe_and_changes_one_arm_alone() -> None:
    base = Arms(Recipe(), 100)
    for arm, options in OPTIONS.items():
        digests = {Arms(changed(Recipe(), some), 100).arm(arm).digest for some in options.values()}
        assert len(digests) == len(options) and base.arm(arm).digest in digests
    for some in OPTIONS["control"].values():
        assert Arms(changed(Recipe(), some), 100).arm("student").digest == base.arm("student").digest


def test_no_cell_reads_what_an_evaluation_wrote() -> None:
    cells = in_order(full_targets(Recipe(), (1,)).values())

    assert not [cell.title for cell in cells for needed in cell.inputs.values() if needed.kind == LAST]
