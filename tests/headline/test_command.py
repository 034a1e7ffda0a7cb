"""The command line writes tables at any time, also before anything ran, and keeps docs/ for the reported seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.headline.__main__ import _wanted, main
from benchmarks.headline.report import base_targets, full_targets
from benchmarks.headline.tables import METRICS
from benchmarks.headline.tuning import tuned
from benchmarks.headline.worker import instructions
from pipelines.demo.recipe import Recipe


@pytest.mark.parametrize("what", ["base", "full", "tune"])
def test_tables_can_be_written_before_anything_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)

    status = main([what, "--tables", "--quick", "--seeds", "5,6"])

    assert status == 1 and "| 0 of 2 |" in capsys.readouterr().out
    assert (tmp_path / ".bench/headline/headline.md").is_file() and not (tmp_path / "docs").exists()


def test_a_tuning_seed_is_never_reported() -> None:
    with pytest.raises(SystemExit, match="never reported"):
        main(["base", "--tables", "--report", "--seeds", "100"])


def test_what_stands_beside_the_page_counts_only_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = ["base", "--tables", "--quick", "--seeds", "5", "--kept"]
    (cell,) = [
        cell for (_, arm, _), cell in base_targets(tuned(Recipe.quick()), (5,)).items() if arm == "plain"
    ]
    row = {
        "digest": cell.digest,
        "instructions": instructions(),
        "cpu_s": 1.0,
        "result": dict.fromkeys(METRICS, 0.5),
    }
    (tmp_path / ".bench/headline").mkdir(parents=True)
    (tmp_path / ".bench/headline/headline.json").write_text(json.dumps([row]))

    main(said)
    with_kept = capsys.readouterr()
    main(said[:-1])

    assert "1 of 5 evaluations stand beside the page" in with_kept.err and "| (a) | 50.0 |" in with_kept.out
    assert "50.0" not in capsys.readouterr().out


def test_only_takes_arms_and_worlds_and_no_other_word() -> None:
    targets = full_targets(Recipe(), (1,))

    worlds = {cell.title for cell in _wanted(targets, ["style"])}

    assert worlds and all("style" in title for title in worlds)
    assert len(_wanted(targets, ["oracle"])) == 1 and len(_wanted(targets, [])) == len(targets)
    with pytest.raises(SystemExit, match="orcale: expected any of .*oracle"):
        _wanted(targets, ["orcale"])
