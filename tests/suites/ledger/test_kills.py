"""Real processes die at every line of the ledger and at random moments; nothing is lost, doubled or torn.

A program of its own forks them, because a test run has threads: `python -m tests.suites.ledger.crash_points` and
`python -m tests.suites.ledger.kills`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STORIES = ("commit", "publish", "collect", "whole run")


def run(root: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-m", f"tests.suites.ledger.{program}", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=880)


def found_by(root: Path, program: str, *arguments: str) -> dict[str, Any]:
    done = run(root, program, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    print(program, done.stdout)
    return dict(json.loads(done.stdout))


def test_a_death_at_some_lines_is_made_good_by_a_fresh_process(project_root: Path) -> None:
    found = found_by(project_root, "crash_points", "--every", "100")

    assert all(found[story]["died"] >= 2 for story in STORIES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("story", STORIES)
def test_a_death_at_any_line_is_made_good_by_a_fresh_process(project_root: Path, story: str) -> None:
    assert found_by(project_root, "crash_points", "--story", story)[story]["died"] >= 100


def test_a_record_that_is_created_in_place_does_not_survive_every_line(project_root: Path) -> None:
    done = run(project_root, "crash_points", "--plant", "--within", "planted")

    assert done.returncode != 0
    assert "cannot be read" in done.stderr or "JSONDecodeError" in done.stderr


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kills", "zombies"),
    [pytest.param(400, 30, marks=pytest.mark.slow, id="long"), pytest.param(15, 1, id="short")],
)
def test_random_kills_and_zombies_change_nothing(project_root: Path, kills: int, zombies: int) -> None:
    found = found_by(project_root, "kills", "--kills", str(kills), "--zombies", str(zombies))

    assert found["killed"] >= kills
    assert found["zombies"] == zombies
    assert found["rounds with equal bytes"] >= 1
