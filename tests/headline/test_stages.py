"""The stages chain: worlds, labels, views, trainings and evaluations of the real parts, in a world of seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.headline.arms import Arms
from benchmarks.headline.cells import Cell, CellStore
from benchmarks.headline.changed_views import boxless
from benchmarks.headline.tasks import Task
from engine.views import open_view, write_view
from pipelines.demo.recipe import Recipe
from pipelines.demo.world.lexicon import TAIL_NOUNS
from student.data.streams import load_stream
from student.prompts.training_prompt import TokenBudget, make_caption_prompt, make_detection_prompt
from student.settings.streams import PromptMix, StreamSettings

Run = Callable[[Cell], Path]


@pytest.fixture(scope="module")
def arms(tiny: Recipe) -> Arms:
    return Arms(tiny, 700)


def test_a_student_on_true_boxes_is_trained_and_measured(arms: Arms, store: CellStore, run_here: Run) -> None:
    run_here(arms.arm("oracle"))
    found = store.result(arms.arm("oracle"))
    view = open_view(str(run_here(arms.changed_view("oracle")) / "view"))

    assert found is not None
    assert all(0 <= found[name] <= 1 for name in ("head", "tail", "recall", "recall_head", "recall_tail"))
    rows = list(view.rows())
    assert len(rows) == 24 and sum(len(row["regions"]) for row in rows) > 24
    assert {region["origin"] for row in rows for region in row["regions"]} == {"human"}


def test_a_view_without_boxes_teaches_no_box_and_loses_no_row(arms: Arms, run_here: Run) -> None:
    views = [run_here(cell) / "view" for cell in (arms.plain_view, arms.changed_view("boxless"))]
    before, after = (list(open_view(str(view)).rows()) for view in views)

    assert [row["key"] for row in after] == [row["key"] for row in before]
    assert {phrase["fate"] for row in after for phrase in row["phrases"]} == {"unresolved"}


def test_the_arm_without_boxes_sees_the_images_that_the_student_sees_and_learns_no_place(
    arms: Arms, run_here: Run, tmp_path: Path
) -> None:
    rows = list(open_view(str(run_here(arms.gold) / "gold/view")).rows())
    for name, some in (("with", rows), ("without", [boxless(row, {}) for row in rows])):
        write_view(str(tmp_path / name), some, kind="view", provenance={})
    mix = PromptMix(detection=0.75, phrase_list=0, caption=0.25)
    ours, theirs = (
        load_stream(StreamSettings(url=str(tmp_path / name), share=1, prompts=mix))
        for name in ("with", "without")
    )

    assert theirs.images == ours.images > 0 and theirs.root_counts == ours.root_counts
    for one in map(theirs.examples.__getitem__, range(len(rows))):
        assert not one.box_weight_G.any() and not one.token_weight_G.any()
        asked = make_detection_prompt(
            np.random.default_rng(0), theirs, one, 3, TokenBudget(99, lambda text: 1)
        )
        assert not any(
            span.boxes or span.ignored or asked.text[span.begin : span.end] in one.roots
            for span in asked.spans
        )
        masked = {(span.begin, span.end) for span in make_caption_prompt(one).spans if span.masked}
        assert masked == {(span.begin, span.end) for span in make_caption_prompt(one).spans}


def test_a_training_that_was_cut_short_goes_on_from_what_it_left(
    arms: Arms, store: CellStore, run_here: Run
) -> None:
    cell = arms.arm("plain").inputs["model"]
    folder = run_here(cell)
    weights = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "cell.json").unlink()

    run_here(cell)

    assert (folder / "model" / "model.safetensors").read_bytes() == weights
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("way", ["zero_shot", "prompt"])
def test_the_new_task_asks_for_tail_nouns_alone(
    arms: Arms, store: CellStore, run_here: Run, way: str
) -> None:
    cell = Task(arms).arm("teacher", way)  # type: ignore[arg-type]

    run_here(cell)

    found = store.result(cell)
    assert found is not None and found["head"] == -1 and 0 <= found["tail"] == found["AP"]
    roots = {
        p["root"]
        for row in open_view(str(run_here(Task(arms).data()) / "gold/view")).rows()
        for p in row["phrases"]
    }
    assert roots == set(TAIL_NOUNS)


def test_a_start_without_fusion_is_another_model(arms: Arms, run_here: Run) -> None:
    sizes = [
        (run_here(arms.start(fusion)) / "model" / "model.safetensors").stat().st_size
        for fusion in (True, False)
    ]

    assert sizes[0] > sizes[1]
