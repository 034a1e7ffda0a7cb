"""The engine's benchmark runs on the test run's cluster; what a commit costs is what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.engine import __main__ as engine

SMALL = [
    "--shards",
    "1",
    "--samples",
    "4",
    "--unit-samples",
    "4",
    "--processes",
    "1",
    "--megabytes",
    "1",
    "--commits",
    "2",
]
Printed = pytest.CaptureFixture[str]


@pytest.mark.ray
def test_the_engine_is_measured_beside_bare_loops_and_a_commit_costs_what_the_page_says(
    tmp_path: Path, project_root: Path, ray_cluster: None, capsys: Printed
) -> None:
    out = tmp_path / "figures.json"
    engine.main([*SMALL, "--rounds", "1", "--without-ray-data", "--out", str(out)])

    first, *lines, commit = capsys.readouterr().out.splitlines()
    (figures,) = json.loads(out.read_text())["rounds"]
    names = ["bare loops", "engine", "engine, starting actors too"]
    assert first.startswith("round 0: ") and commit.startswith("a commit of 500 rows")
    assert list(figures) == names and all(rate > 0 for rate in figures.values())
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(name) and line.endswith(
            f"{figures[name] / figures['bare loops']:.3f} of bare loops"
        )
    counted = json.loads(commit.split("store operations per unit: ")[1].replace("'", '"'))
    page = (project_root / "docs/performance.md").read_text(encoding="utf-8")
    named = re.search(r"A commit\s+is three store operations \(([^)]+)\)", page)
    assert named is not None and counted == dict.fromkeys(named[1].replace("`", "").split(", "), 1.0)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # of Ray Data itself, by itself
def test_ray_data_is_measured_in_the_same_round(ray_cluster: None, capsys: Printed) -> None:
    """Starting Ray Data's actors alone takes more than five seconds."""
    engine.main([*SMALL, "--rounds", "1"])

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Ray Data") and line.endswith(" of bare loops") for line in lines)
