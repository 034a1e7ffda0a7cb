"""The README's first picture and the numbers printed below it are of one run of the demo, at its full size."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.report_picture import PIXELS, PRINTED, WORLD, block_of, pixels_digest
from pipelines.demo.recipe import Recipe
from pipelines.demo.run import TITLES


@pytest.fixture(scope="module")
def picture(project_root: Path) -> Image.Image:
    return Image.open(project_root / "docs/pictures/report.png")


def test_the_readme_prints_the_numbers_of_the_run_in_its_picture(
    picture: Image.Image, project_root: Path
) -> None:
    assert picture.info.get(PRINTED) == block_of(project_root / "README.md")


def test_the_readme_names_the_steps_as_the_program_prints_them(project_root: Path) -> None:
    printed = re.findall(r"^\[(\d+)/(\d+)\] (.*)$", block_of(project_root / "README.md"), re.M)

    expected = [(str(number), str(len(TITLES)), title) for number, title in enumerate(TITLES.values(), 1)]
    assert printed == expected


def test_the_picture_is_the_one_that_was_taken_of_that_run(picture: Image.Image) -> None:
    assert picture.info.get(PIXELS) == pixels_digest(picture)


def test_that_run_was_of_the_demos_own_world_and_not_of_a_quick_one(picture: Image.Image) -> None:
    assert json.loads(picture.info.get(WORLD, "{}")) == Recipe().world.model_dump(mode="json")
