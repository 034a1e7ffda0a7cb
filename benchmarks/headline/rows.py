"""Every arm by name, and the rows of the full table: which arm against which, in which world.

The arms of the issue: teacher; (a) plain; (b) control; (c) shuffled; student. (d) boxless, (e) catalogue and
(f) colourless take one part of the web away; the others switch one part of the recipe off or put another start, teacher
or truth in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.headline.arms import Arms
from benchmarks.headline.cells import Cell
from pipelines.demo.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """`arm` minus `against`, both of one seed and world."""

    title: str
    arm: str
    against: str
    world: str = "base"


def _plain(arms: Arms) -> Cell:
    return arms.model_of("plain", arms.recipe, arms.teacher(), None)


def _control(arms: Arms) -> Cell:
    return arms.model_of("control", arms.recipe, arms.teacher(), None)


def _student(arms: Arms) -> Cell:
    return arms.student_on("student", arms.plain_view)


def _change_captions(captions: str, **policy: Any) -> Callable[[Arms], Cell]:
    def model(arms: Arms) -> Cell:
        evidence = arms.evidence(arms.teacher(), arms.change_captions(captions), f"labels, {captions}")
        return arms.student_on(captions, arms.view(evidence, f"view, {captions}", **policy))

    return model


def _with_boxes(boxes: str) -> Callable[[Arms], Cell]:
    return lambda arms: arms.student_on(boxes, arms.changed_view(boxes))


def _policy(arm: str, **policy: Any) -> Callable[[Arms], Cell]:
    def model(arms: Arms) -> Cell:
        evidence = arms.evidence(arms.teacher())
        return arms.student_on(arm, arms.view(evidence, f"view, {arm}", **policy))

    return model


def _second_round(arms: Arms) -> Cell:
    """Labels by the student, and a second student that starts from the first."""
    evidence = arms.evidence(_student(arms), what="labels by the student")
    view = arms.view(evidence, "view, second round")
    return arms.model_of("second_round", arms.recipe, _student(arms), view)


def _first_labels_again(arms: Arms) -> Cell:
    return arms.model_of("first_labels_again", arms.recipe, _student(arms), arms.plain_view)


def _control_again(arms: Arms) -> Cell:
    """Continue the control for as many steps as a second round takes."""
    return arms.model_of("control_again", arms.recipe, _control(arms), None)


def _whole(recipe: Recipe) -> Recipe:
    """From random weights: the teacher's steps and the student's together, at the teacher's rate."""
    steps = recipe.teacher_steps + recipe.student_steps
    rate = recipe.teacher_learning_rate
    return recipe.model_copy(
        update={"student_steps": steps, "student_learning_rate": rate, "control_learning_rate": rate}
    )


def _scratch(view: bool) -> Callable[[Arms], Cell]:
    name = "scratch_student" if view else "scratch_control"
    return lambda arms: arms.model_of(
        name, _whole(arms.recipe), arms.start(), arms.plain_view if view else None
    )


def _without_fusion(arm: str) -> Callable[[Arms], Cell]:
    def model(arms: Arms) -> Cell:
        teacher = arms.teacher(fusion=False)
        if arm == "teacher":
            return teacher
        view = arms.view(arms.evidence(teacher, what="labels, no fusion"), "view, no fusion")
        return arms.model_of(f"{arm}_unfused", arms.recipe, teacher, view if arm == "student" else None)

    return model


MODELS: dict[str, Callable[[Arms], Cell]] = {
    "teacher": lambda arms: arms.teacher(),
    "plain": _plain,
    "control": _control,
    "shuffled": _change_captions("shuffled"),
    "student": _student,
    "second_round": _second_round,
    "first_labels_again": _first_labels_again,
    "control_again": _control_again,
    "boxless": _with_boxes("boxless"),
    "catalogue": _change_captions("catalogue", one_to_one=False),
    "colourless": _change_captions("colourless"),
    "one_to_one_off": _policy("one_to_one_off", one_to_one=False, max_regions_per_phrase=1),
    "unweighted": _policy("unweighted", weight="one", ignore_score=None, class_only_below=None),
    "weighted": _policy("weighted", weight="score", ignore_score=0.2),
    "negatives_off": lambda arms: arms.student_on("negatives_off", arms.plain_view, pseudo_negatives_max=0),
    "raw_captions": lambda arms: arms.student_on(
        "raw_captions", arms.plain_view, pseudo_prompts=arms.mixes["captions"]
    ),
    "half_web": lambda arms: arms.student_on("half_web", arms.plain_view, pseudo_share=0.5),
    "half_web_fast": lambda arms: arms.student_on(
        "half_web_fast", arms.plain_view, pseudo_share=0.5, student_learning_rate=2e-3
    ),
    "placeless": _policy("placeless", class_only_below=1.0),
    "oracle": _with_boxes("oracle"),
    "scratch_student": _scratch(True),
    "scratch_control": _scratch(False),
    "teacher_unfused": _without_fusion("teacher"),
    "control_unfused": _without_fusion("control"),
    "student_unfused": _without_fusion("student"),
}
BASE_ARMS = ("teacher", "plain", "control", "shuffled", "student")
FULL_ROWS = (
    Row("student", "student", "control"),
    Row("(c) captions shuffled", "shuffled", "plain"),
    Row("second round: labels by the student", "second_round", "first_labels_again"),
    Row("first labels, as many steps", "first_labels_again", "control_again"),
    Row("second round against gold alone, as many steps", "second_round", "control_again"),
    Row("(d) web pairs without boxes", "boxless", "control"),
    Row("(e) web images without captions", "catalogue", "control"),
    Row("(f) captions without colour words", "colourless", "student"),
    Row("one-to-one off", "one_to_one_off", "student"),
    Row("weighting and ignore band off", "unweighted", "student"),
    Row("weighting and ignore band on", "weighted", "student"),
    Row("negatives off", "negatives_off", "student"),
    Row("raw captions only", "raw_captions", "student"),
    Row("half the slots web", "half_web", "control"),
    Row("half the slots web, learning rate 2e-3", "half_web_fast", "control"),
    Row("the web teaches no box's place", "placeless", "control"),
    Row("oracle boxes", "oracle", "student"),
    Row("from scratch, as in the writer", "scratch_student", "scratch_control"),
    Row("fusion off", "student_unfused", "control_unfused"),
    Row("fusion off, teacher", "teacher_unfused", "teacher"),
    Row("web in another style", "student", "control", "style"),
    Row("web in another style, captions shuffled", "shuffled", "plain", "style"),
    Row("noisy captions, long-tailed web", "student", "control", "noise"),
    Row("noisy captions, shuffled", "shuffled", "plain", "noise"),
)
