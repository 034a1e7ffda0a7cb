"""The table of demos is made of their results, and the page shows the table of the file beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import demo_seeds
from benchmarks.demo_seeds import CLOSE, OPEN, insert_table
from schemas.errors import NotFoundError


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_demo_is_added_once_and_the_page_shows_its_numbers(
    quick_demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "runs.json", tmp_path / "page.md"
    page.write_text(f"before\n{OPEN}old\n{CLOSE}after\n")
    words = [str(quick_demo / ".demo"), "--name", "quick", "--to", str(file), "--page", str(page)]

    demo_seeds.main(words)
    demo_seeds.main(words)

    (run,) = json.loads(file.read_text())
    evaluated = json.loads((quick_demo / ".demo/steps/evaluate.json").read_text())["result"]
    student = evaluated["models"]["student"]
    assert (run["name"], run["seed"]) == ("quick", 0)
    assert run["models"]["student"]["head"] == student["groups"]["head"]["AP"]
    assert run["gains"]["tail"] == evaluated["gains"]["tail"]["AP"]
    shown = page.read_text()
    assert shown.startswith("before\n") and shown.endswith("after\n") and "old" not in shown
    assert f"| quick | 0 | student | {100 * run['models']['student']['head']:.1f} |" in shown
    assert capsys.readouterr().out.splitlines()[-1].startswith("| quick | 0 | student |")


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no marks"):
        insert_table("a page\n", [])


def test_the_page_of_the_tiny_world_shows_the_table_of_its_runs(project_root: Path) -> None:
    page = (project_root / "docs/tiny_world.md").read_text(encoding="utf-8")
    runs = json.loads((project_root / "docs/tiny_world.json").read_text(encoding="utf-8"))

    assert len(runs) >= 6 and insert_table(page, runs) == page
