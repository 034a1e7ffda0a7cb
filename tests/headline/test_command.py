"""The command line writes tables at any time, also before anything ran, and keeps docs/ for the reported seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.headline.__main__ import main


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
