"""The recipe is fair: the control is the student's run with gold in every slot, and one seed decides everything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.demo.configs import make_job, make_trainings
from pipelines.demo.initial_model import write_start
from pipelines.demo.layout import DemoLayout
from pipelines.demo.recipe import HARD_NEGATIVES, Recipe
from pipelines.demo.world.lexicon import COLOURS, NOUNS, list_vocabulary
from student.settings.streams import PromptMix
from teacher.models.glip import GlipForGrounding, GlipProcessor

TEACHER = Path("teacher")


def test_control_and_student_differ_in_the_data_and_in_repeats_alone() -> None:
    recipe = Recipe(seed=4)
    student = recipe.student(TEACHER, "gold", "view", Path("out")).model_dump()
    control = recipe.control(TEACHER, "gold", Path("out")).model_dump()
    for number, stream in enumerate(control["streams"]):
        assert stream["url"] == "gold"
        assert student["streams"][number]["url"] == ("gold", "view")[number]
        for run in (student, control):
            del run["streams"][number]["url"], run["streams"][number]["repeat_threshold"]

    assert student == control


def test_the_plain_control_continues_the_teachers_training() -> None:
    recipe = Recipe()
    plain = recipe.plain(TEACHER, "gold", Path("out"))

    assert plain.streams == recipe.teacher(Path("start"), "gold", Path("teacher")).streams
    assert (plain.steps, plain.learning_rate) == (recipe.student_steps, recipe.student_learning_rate)


def test_the_teacher_finishes_gold_as_its_control_will_go_on() -> None:
    recipe = Recipe(seed=4, control_learning_rate=2e-3, student_steps=500)
    finished = recipe.labeling_teacher(Path("base"), "gold", Path("out"))
    control = recipe.control(Path("base"), "gold", Path("out"))

    assert (finished.steps, finished.learning_rate) == (recipe.finish_steps, 2e-3)
    assert finished.model_copy(update={"steps": control.steps, "seed": control.seed}) == control


def test_no_arm_repeats_the_batches_of_the_teachers_last_steps() -> None:
    recipe = Recipe(seed=4)
    finished = recipe.labeling_teacher(Path("base"), "gold", Path("out"))
    arms = [recipe.control(TEACHER, "gold", Path("out")), recipe.student(TEACHER, "gold", "v", Path("out"))]

    assert finished.seed not in {arm.seed for arm in arms}


def test_student_and_control_start_from_the_model_that_labels(tmp_path: Path) -> None:
    places, recipe = DemoLayout(tmp_path), Recipe()
    trainings = make_trainings(places, recipe)

    assert trainings["teacher"].start == str(places.model("base"))
    assert {trainings[name].start for name in ("student", "control")} == {str(places.model("teacher"))}
    assert make_job(places).teacher.model == str(places.model("teacher"))


def test_one_seed_decides_world_and_runs() -> None:
    recipe = Recipe(seed=7)
    runs = [recipe.teacher(TEACHER, "g", TEACHER), recipe.student(TEACHER, "g", "v", TEACHER)]

    assert {recipe.world.seed, *(run.seed for run in runs)} == {7}


def test_the_start_is_a_function_of_the_seed(tmp_path: Path) -> None:
    weights = [
        GlipForGrounding.from_pretrained(write_start(tmp_path / name, Recipe(seed=seed).world)).state_dict()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    name = "model.blocks.0.dynamic_conv.from_same.conv.weight"

    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_the_start_model_tokenizes_every_word_and_the_unknown_one(tmp_path: Path) -> None:
    processor = GlipProcessor.from_pretrained(write_start(tmp_path / "start", Recipe().world))
    tokenizer = processor.tokenizer
    ids = tokenizer(" ".join(list_vocabulary()), add_special_tokens=False)["input_ids"]

    assert tokenizer.unk_token_id not in ids
    assert tokenizer("red [UNK]", add_special_tokens=False)["input_ids"][1] == tokenizer.unk_token_id
    assert processor.token_count(". ".join(NOUNS)) <= processor.max_tokens


@pytest.mark.parametrize("colour", COLOURS)
def test_hard_negatives_include_every_colour(colour: str) -> None:
    assert colour in HARD_NEGATIVES.attributes[0]


def test_the_controls_own_choices_leave_the_student_as_it_is() -> None:
    mix = PromptMix(detection=0.5, phrase_list=0.0, caption=0.5)
    own = {"control_prompts": mix, "control_negatives_max": 6, "control_learning_rate": 2e-3}
    recipe = Recipe().model_copy(update=own)
    control = recipe.control(TEACHER, "gold", Path("out"))

    assert recipe.student(TEACHER, "gold", "view", Path("out")) == Recipe().student(
        TEACHER, "gold", "view", Path("out")
    )
    assert (control.streams[1].prompts, control.streams[1].negatives_max) == (mix, 6)
    assert control.learning_rate == 2e-3


def test_the_pseudo_weight_is_the_webs_alone() -> None:
    recipe = Recipe(pseudo_weight=0.5)
    student = recipe.student(TEACHER, "gold", "view", Path("out"))

    assert [stream.weight for stream in student.streams] == [1.0, 0.5]
    assert {stream.weight for stream in recipe.control(TEACHER, "gold", Path("out")).streams} == {1.0}
