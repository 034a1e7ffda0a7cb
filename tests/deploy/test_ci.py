"""What CI runs is what the README tells a contributor to run."""

from __future__ import annotations

import os
import re
from pathlib import Path


def test_ci_checks_and_then_tests_and_does_nothing_that_the_readme_does_not_name(project_root: Path) -> None:
    script = project_root / ".ci/run"
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    fails_on_either, moves, *commands = lines

    assert commands == ["make check", "make test"] and os.access(script, os.X_OK)
    assert fails_on_either == "set -euo pipefail" and moves.startswith("cd ")
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    assert [command for command in commands if not re.search(rf"^{command}\b", readme, re.M)] == []


def test_a_check_covers_format_lint_and_types(project_root: Path) -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (project_root / "Makefile").read_text(), re.M)

    assert recipe is not None
    assert [line.split("/")[-1] for line in recipe[1].splitlines()] == [
        "ruff format --check .",
        "ruff check .",
        "mypy",
    ]
