"""A finished step is not run again, unless its inputs or outputs changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo.recipe import Recipe
from pipelines.demo.run import run_demo
from pipelines.steps.cache import StepCache, compute_code_digest, refuse_foreign
from schemas.errors import ConflictError, GroundswellError


def run_two(folder: Path, key: dict, ran: list[str], said: list[str]) -> dict:
    journal = StepCache(folder, key, total=2, say=said.append)
    first = journal.run_step("render", "render the world", lambda: ran.append("render") or {"scenes": 3})
    return journal.run_step("train", "train", lambda: ran.append("train") or {"loss": first["scenes"] / 2})


def test_a_second_run_repeats_nothing_and_names_each_step_as_done(tmp_path: Path) -> None:
    ran: list[str] = []
    said: list[str] = []
    run_two(tmp_path, {"seed": 0}, ran, [])

    result = run_two(tmp_path, {"seed": 0}, ran, said)

    assert (ran, result) == (["render", "train"], {"loss": 1.5})
    assert all("already done" in line for line in said) and len(said) == 2


def test_another_key_runs_every_step_again(tmp_path: Path) -> None:
    ran: list[str] = []
    run_two(tmp_path, {"seed": 0}, ran, [])

    run_two(tmp_path, {"seed": 1}, ran, [])

    assert ran == ["render", "train"] * 2


def test_a_step_that_failed_is_not_remembered(tmp_path: Path) -> None:
    journal = StepCache(tmp_path, {}, total=1, say=lambda line: None)
    with pytest.raises(ZeroDivisionError):
        journal.run_step("train", "train", lambda: {"loss": 1 / 0})

    again = StepCache(tmp_path, {}, total=1, say=lambda line: None)

    assert again.run_step("train", "train", lambda: {"loss": 2.0}) == {"loss": 2.0}


def test_a_file_that_a_later_step_writes_again_makes_no_step_run_again(tmp_path: Path) -> None:
    ran: list[str] = []

    def once() -> None:
        journal = StepCache(tmp_path, {}, total=1, say=lambda line: None, rewritten=("README.md",))
        journal.run_step("train", "train", lambda: ran.append("train") or {}, (tmp_path / "model",))

    (tmp_path / "model").mkdir()
    for name in ("README.md", "weights"):
        (tmp_path / "model" / name).write_text("first")
    once()
    (tmp_path / "model/README.md").write_text("second")
    once()
    assert ran == ["train"]

    (tmp_path / "model/weights").write_text("second")
    once()
    assert ran == ["train"] * 2


def train_once(folder: Path, ran: list[str], said: list[str]) -> dict:
    """Run one step that makes a model directory and a report."""

    def run() -> dict:
        ran.append("train")
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model/weights").write_text("1.5")
        (folder / "report.json").write_text("{}")
        return {"loss": 0.5}

    journal = StepCache(folder, {}, total=1, say=said.append)
    return journal.run_step("train", "train", run, (folder / "model", folder / "report.json"))


def test_a_step_is_done_only_while_every_file_it_made_is_unchanged(tmp_path: Path) -> None:
    ran: list[str] = []
    said: list[str] = []
    train_once(tmp_path, ran, said)
    train_once(tmp_path, ran, said)
    assert ran == ["train"] and "already done" in said[-1]

    (tmp_path / "model/weights").unlink()
    train_once(tmp_path, ran, said)
    assert ran == ["train"] * 2 and said[-1].endswith("again, model/weights is missing")

    (tmp_path / "report.json").write_text("[]")
    train_once(tmp_path, ran, said)
    assert ran == ["train"] * 3 and said[-1].endswith("again, report.json has changed")


def test_a_step_that_leaves_out_a_promised_file_is_not_done(tmp_path: Path) -> None:
    with pytest.raises(GroundswellError, match="report.html is missing although the step"):
        StepCache(tmp_path, {}, total=1, say=print).run_step(
            "report", "report", dict, (tmp_path / "report.html",)
        )

    assert not (tmp_path / "steps/report.json").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": "sha256:0"}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, damage: str) -> None:
    ran: list[str] = []
    train_once(tmp_path, ran, [])
    (tmp_path / "steps/train.json").write_text(damage)

    assert train_once(tmp_path, ran, []) == {"loss": 0.5}
    assert ran == ["train"] * 2


def test_another_result_of_a_step_runs_those_after_it_again(tmp_path: Path) -> None:
    ran: list[str] = []

    def both(scenes: int) -> None:
        journal = StepCache(tmp_path, {}, total=2, say=lambda line: None)
        journal.run_step("render", "render", lambda: {"scenes": scenes}, (tmp_path / "steps",))
        journal.run_step("train", "train", lambda: ran.append("train") or {})

    (tmp_path / "steps").mkdir()
    for scenes, record in ((3, "a"), (3, "b"), (4, "c")):
        (tmp_path / "steps/file").write_text(record)
        both(scenes)

    assert ran == ["train", "train"]


def test_the_code_digest_follows_the_data_of_the_package_and_no_compiled_file(tmp_path: Path) -> None:
    (tmp_path / "teacher/__pycache__").mkdir(parents=True)
    words = tmp_path / "teacher/lexicon.xz"
    words.write_text("a")
    before = compute_code_digest(tmp_path)

    (tmp_path / "teacher/__pycache__/a.pyc").write_text("x")
    assert compute_code_digest(tmp_path) == before
    words.write_text("b")
    assert compute_code_digest(tmp_path) != before


def test_the_code_digest_follows_the_source(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    source = tmp_path / "schemas/a.py"
    source.write_text("x = 1\n")
    before = compute_code_digest(tmp_path)

    source.write_text("x = 2\n")

    assert compute_code_digest(tmp_path) != before


def test_a_folder_of_the_users_own_files_is_refused_and_keeps_them(tmp_path: Path) -> None:
    precious = tmp_path / "world" / "photographs.zip"
    precious.parent.mkdir()
    precious.write_bytes(b"of ten years")

    with pytest.raises(ConflictError, match="no demo made"):
        run_demo(tmp_path, Recipe.quick(), progress=lambda *step: None, say=print)

    assert list(tmp_path.rglob("*")) == [precious.parent, precious]


def test_a_demo_that_was_killed_before_its_first_step_ended_is_no_foreign_folder(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "new")
    refuse_foreign(tmp_path)

    StepCache(tmp_path, {}, total=1, say=print)
    (tmp_path / "job.yaml").write_text("{}")

    refuse_foreign(tmp_path)
