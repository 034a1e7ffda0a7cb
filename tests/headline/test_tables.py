"""The tables compare like with like, by hand-worked numbers, and show what is missing as missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.headline.cells import Cell, CellStore
from benchmarks.headline.document import put_between, write_page
from benchmarks.headline.plot import write_plot
from benchmarks.headline.report import (
    ReportWriter,
    base_targets,
    full_targets,
    numbers_of,
    task_targets,
    write_base,
    write_full,
    write_tuning,
)
from benchmarks.headline.rows import BASE_ARMS
from benchmarks.headline.tables import METRICS, arms_table, gain, gains_table, seeds_table, verdicts
from benchmarks.headline.tuning import OPTIONS, after, options, tuned, write_choice
from benchmarks.headline.worker import instructions
from pipelines.demo.recipe import Recipe
from schemas.errors import NotFoundError


def arm(**tails: float) -> dict[int, dict[str, float]]:
    """Numbers of an arm by seed, from its tail AP; head AP and recall are one half."""
    values = dict.fromkeys(METRICS, 0.5)
    return {int(seed[1:]): {**values, "tail": tail} for seed, tail in tails.items()}


NUMBERS = {
    "plain": arm(s1=0.10, s2=0.12, s3=0.08),
    "control": arm(s1=0.11, s2=0.10, s3=0.15),
    "shuffled": arm(s1=0.11, s2=0.11, s3=0.08),
    "student": arm(s1=0.31, s2=0.32, s3=0.33),
}


def test_the_gain_is_over_the_better_control_on_the_mean() -> None:
    found = gain(NUMBERS, "tail", "student", None)

    assert found is not None and found.by_seed == pytest.approx({1: 0.20, 2: 0.22, 3: 0.18})
    assert found.mean == pytest.approx(0.2)
    assert "+20.0 [+15.0, +25.0]" in gains_table(NUMBERS, (1, 2, 3))


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    numbers = {**NUMBERS, "student": arm(s2=0.32, s3=0.33, s4=0.9)}
    found = gain(numbers, "tail", "student", "plain")

    assert found is not None and set(found.by_seed) == {2, 3}
    assert gain({**NUMBERS, "student": arm(s1=0.3)}, "tail", "student", "plain") is None
    assert gain({"student": NUMBERS["student"]}, "tail", "student", None) is None


def test_missing_seeds_are_counted_and_dashed() -> None:
    numbers = {"plain": arm(s1=0.1)}

    assert "1 of 3 |" in arms_table(numbers, BASE_ARMS, (1, 2, 3))
    assert "| (a) | 10.0 | - | - |" in seeds_table(numbers, BASE_ARMS, (1, 2, 3), "tail")


def test_the_targets_sentences_are_met_not_met_or_not_measured() -> None:
    text = verdicts(NUMBERS, (1, 2, 3))
    worse = verdicts({**NUMBERS, "student": arm(s1=0.2, s2=0.1, s3=0.3)}, (1, 2, 3))

    assert text.count(": met") == 6
    assert "every seed: **not met**" in worse
    assert verdicts({}, (1, 2, 3)).count("not measured yet") == 6
    partly = verdicts(NUMBERS, (1, 2, 3, 4))
    assert "every seed: **not met** (of 3 of 4 seeds)" in partly and partly.count("of 3 of 4 seeds") == 6
    assert "seeds)" not in text


def test_text_outside_the_markers_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")

    put_between(page, "a", "new")
    put_between(page, "a", "newer")

    assert page.read_text() == "before\n<!-- a -->\nnewer\n<!-- /a -->\nafter\n"
    with pytest.raises(NotFoundError, match="markers"):
        put_between(page, "b", "x")


def test_a_section_without_markers_goes_to_the_end_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_page(page, {"a": "first"})

    write_page(page, {"b": "second", "a": "third"})

    assert page.read_text() == "<!-- a -->\nthird\n<!-- /a -->\n<!-- b -->\nsecond\n<!-- /b -->\n"


def test_equal_numbers_give_an_equal_plot(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_plot(tmp_path / name, NUMBERS, BASE_ARMS)

    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def finish(store: CellStore, cell: Cell, tail: float) -> None:
    """Write down a made-up result of an evaluation."""
    numbers = dict.fromkeys(METRICS, 0.5) | {"tail": tail, "AP": tail}
    record = {"digest": cell.digest, "title": cell.title, "kind": cell.kind, "cpu_s": 1.0, "result": numbers}
    record["instructions"] = instructions()
    store.folder(cell).mkdir(parents=True)
    (store.folder(cell) / "cell.json").write_text(json.dumps(record))


def test_the_page_says_what_is_missing_by_name(tmp_path: Path) -> None:
    store, seeds = CellStore(tmp_path / "grid"), (1, 2)
    targets = base_targets(Recipe(), seeds)
    for (_, name, seed), cell in targets.items():
        if (name, seed) != ("student", 2):
            finish(store, cell, tail=0.1 * seed)

    write_base(ReportWriter(tmp_path), store, targets, seeds)

    page = (tmp_path / "headline.md").read_text()
    assert "- seed 2 student evaluated: not run" in page and page.count("not run") == 1
    assert "| (a) plain gold | 15.0 [" in page and (tmp_path / "pictures/headline.svg").is_file()
    cells = json.loads((tmp_path / "headline.json").read_text())
    assert sum("missing" in cell for cell in cells) == len(cells) - 9


def test_the_full_table_shows_every_row_before_anything_is_measured(tmp_path: Path) -> None:
    seeds = (1, 2)
    targets = full_targets(Recipe(), seeds) | task_targets(Recipe(), seeds)

    text = write_full(ReportWriter(tmp_path), CellStore(tmp_path / "grid"), targets, seeds)

    assert text.count("0 of 2 |") >= 15 and "oracle boxes" in text
    assert "weighting and ignore band off | student (the same run)" in text


def finish_options(store: CellStore, recipe: Recipe, name: str, best: str, but: str = "") -> None:
    for (option, _), cell in options(recipe, name, (1,)).items():
        if option != but and store.record(cell) is None:
            finish(store, cell, tail=0.4 if option == best else 0.2)


def test_the_best_option_is_chosen_once_all_of_both_arms_are_there(tmp_path: Path) -> None:
    store, path = CellStore(tmp_path / "grid"), tmp_path / "tuned.json"
    finish_options(store, Recipe(), "student", "60 %, half the slots web")
    in_its_mix = after(Recipe(), "student", store, (1,))
    assert in_its_mix is not None and in_its_mix.pseudo_share == 0.5
    finish_options(store, in_its_mix, "control", "no repeats", but="threshold 0.5")

    assert not write_choice(Recipe(), store, (1,), path)
    assert tuned(Recipe(), path) == Recipe()  # the student's runs are all there, the control's are not
    finish_options(store, in_its_mix, "control", "no repeats")

    assert write_choice(Recipe(), store, (1,), path)
    assert tuned(Recipe(), path) == in_its_mix.model_copy(update={"control_repeat_threshold": 0.0})
    assert write_tuning(ReportWriter(tmp_path), path).count("**chosen**") == len(OPTIONS)


def test_the_controls_options_are_tried_in_the_prompt_mix_of_the_chosen_student(tmp_path: Path) -> None:
    store = CellStore(tmp_path / "grid")
    finish_options(store, Recipe(), "student", "60 %, half the slots web")
    recipe = after(Recipe(), "student", store, (1,))
    assert recipe is not None
    cell = options(recipe, "control", (1,))["no repeats", 1]

    gold, webs_place = cell.inputs["model"].settings["streams"]

    assert gold["prompts"]["detection"] == 0.6 and webs_place["share"] == 0.5


def test_without_tuning_the_recipe_stays_as_it_is(tmp_path: Path) -> None:
    assert tuned(Recipe(), tmp_path / "none.json") == Recipe()


def test_evaluations_told_beside_the_page_count_as_done_and_run_nothing_before_them(tmp_path: Path) -> None:
    store, seeds, writer = CellStore(tmp_path / "grid"), (1, 2), ReportWriter(tmp_path)
    targets = base_targets(Recipe(), seeds)
    first = [cell for (_, _, seed), cell in targets.items() if seed == 1]
    for cell in first:
        finish(store, cell, tail=0.1)
    write_base(writer, store, targets, seeds)

    elsewhere = CellStore(tmp_path / "other", writer.cells())

    assert elsewhere.missing(first) == []
    assert numbers_of(elsewhere, targets, "base") == numbers_of(store, targets, "base")
    before = (tmp_path / "headline.json").read_text()
    write_base(writer, elsewhere, targets, seeds)
    assert (tmp_path / "headline.json").read_text() == before
    (tmp_path / "headline.json").write_text(before.replace(instructions(), "OTHER"))
    assert CellStore(tmp_path / "other", writer.cells()).missing(first) != []
