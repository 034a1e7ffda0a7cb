"""The page, the picture and the README show what the cells beside the page say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.headline.__main__ import BASE_SEEDS
from benchmarks.headline.plot import write_plot
from benchmarks.headline.rows import BASE_ARMS
from benchmarks.headline.tables import Numbers, arms_table, gain, gains_table, seeds_table, verdicts


@pytest.fixture(scope="module")
def numbers(project_root: Path) -> Numbers:
    """Return what docs/headline.json says about each arm, by seed."""
    found: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in BASE_ARMS}
    for cell in json.loads((project_root / "docs/headline.json").read_text(encoding="utf-8")):
        if told := re.fullmatch(r"seed (\d+) (\w+) evaluated", cell["title"]):
            found[told[2]][int(told[1])] = cell["result"]
    return found


def test_the_pages_tables_are_those_of_its_cells(numbers: Numbers, project_root: Path) -> None:
    page = (project_root / "docs/headline.md").read_text(encoding="utf-8")
    section = page.split("<!-- base -->")[1].split("<!-- /base -->")[0]
    tables = [
        arms_table(numbers, BASE_ARMS, BASE_SEEDS),
        gains_table(numbers, BASE_SEEDS),
        verdicts(numbers, BASE_SEEDS),
        *(seeds_table(numbers, BASE_ARMS, BASE_SEEDS, metric) for metric in ("tail", "head")),
    ]

    assert section.strip().split("\n\n")[1:] == tables


def test_the_picture_is_drawn_of_these_cells(numbers: Numbers, project_root: Path, tmp_path: Path) -> None:
    write_plot(tmp_path / "headline.svg", numbers, BASE_ARMS)

    drawn, kept = (
        path.read_text(encoding="utf-8")
        for path in (tmp_path / "headline.svg", project_root / "docs/pictures/headline.svg")
    )
    assert drawn == kept


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("README.md", r"student gains \*\*([\d.]+) points of tail AP \[([\d.]+), ([\d.]+)\]\*\*"),
        ("docs/tiny_world.md", r"tail \+([\d.]+) \[([\d.]+), ([\d.]+)\], head"),
    ],
)
def test_pages_that_cite_the_gain_on_the_tail_cite_these_cells(
    numbers: Numbers, project_root: Path, page: str, sentence: str
) -> None:
    assert _cited(project_root / page, sentence) == _points(numbers, "tail")


def test_the_readme_cites_the_loss_on_the_head(numbers: Numbers, project_root: Path) -> None:
    loss, most, least = (-number for number in _points(numbers, "head"))

    assert _cited(project_root / "README.md", r"Head AP falls by ([\d.]+) points \[([\d.]+), ([\d.]+)\]") == [
        loss,
        least,
        most,
    ]


def _points(numbers: Numbers, metric: str) -> list[float]:
    """Student minus the better control: mean, low and high, as pages round them."""
    found = gain(numbers, metric, "student", None)
    assert found is not None
    return [round(100 * number, 1) for number in (found.mean, found.low, found.high)]


def _cited(page: Path, sentence: str) -> list[float]:
    """Return the numbers of a sentence that may continue on the next line."""
    found = re.search(sentence.replace(" ", r"\s+"), page.read_text(encoding="utf-8"))
    assert found is not None, f"{page.name} has no such sentence: {sentence}"
    return [float(number) for number in found.groups()]
