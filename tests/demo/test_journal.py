"""A step that is done is not done again, unless what it rests on changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo.journal import Journal, code_digest


def run_two(folder: Path, key: dict, ran: list[str], said: list[str]) -> dict:
    journal = Journal(folder, key, total=2, say=said.append)
    first = journal.step("render", "render the world", lambda: ran.append("render") or {"scenes": 3})
    return journal.step("train", "train", lambda: ran.append("train") or {"loss": first["scenes"] / 2})


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
    journal = Journal(tmp_path, {}, total=1, say=lambda line: None)
    with pytest.raises(ZeroDivisionError):
        journal.step("train", "train", lambda: {"loss": 1 / 0})

    again = Journal(tmp_path, {}, total=1, say=lambda line: None)

    assert again.step("train", "train", lambda: {"loss": 2.0}) == {"loss": 2.0}


def test_the_code_digest_follows_the_source(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    source = tmp_path / "schemas/a.py"
    source.write_text("x = 1\n")
    before = code_digest(tmp_path)

    source.write_text("x = 2\n")

    assert code_digest(tmp_path) != before
