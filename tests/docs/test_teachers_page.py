"""docs/teachers.md: its commands run on a tiny model, and its tables agree with the registry."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import published_checkpoints
from teacher.registry import TEACHERS
from tests.teacher.huggingface.tiny_models import save_grounding_dino

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
ROW = re.compile(r"^\| `([\w-]+)` \|.*?\| ([\d.]+), ([\d.]+) \|", re.M)


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs/teachers.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two photographs, a tiny model and the files of the page."""
    folder = tmp_path_factory.mktemp("tutorial")
    save_grounding_dino(folder / "MODEL")
    (folder / "photos").mkdir()
    for number, (name, caption) in enumerate((("dog", "a big dog and a red car"), ("cat", "two cats"))):
        pixels = np.random.default_rng(number).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/{name}.jpg")
        (folder / f"photos/{name}.txt").write_text(caption)
    for kind, text in BLOCK.findall(page):
        if kind in ("yaml", "python"):
            name, body = text.split("\n", 1)
            (folder / name.removeprefix("# ")).write_text(body)
    return folder


def run(words: list[str], folder: Path) -> str:
    """Run a line of the page as a shell does: variables, then the command, which does not import from its folder."""
    given = dict(word.split("=", 1) for word in itertools.takewhile(lambda word: "=" in word, words))
    words = words[len(given) :]
    environment = {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **given}
    assert words[0] == "groundswell"
    done = subprocess.run(
        [str(Path(sys.executable).with_name(words[0])), *words[1:]],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_page_run_on_a_tiny_model(page: str, place: Path) -> None:
    lines = [line for kind, text in BLOCK.findall(page) if kind == "bash" for line in text.splitlines()]

    assert len(lines) == 11
    for line in lines:
        run(shlex.split(line), place)

    assert (place / "boxes.png").is_file() and (place / "phrases.png").is_file()
    coco = json.loads((place / "runs/coco.json").read_text())
    assert len(coco["images"]) == 2


def test_the_table_of_kinds_is_that_of_the_registry(page: str) -> None:
    table = {kind: (float(floor), float(first)) for kind, floor, first in ROW.findall(page)}
    entries = {name: TEACHERS.load(name) for name in TEACHERS.names()}

    assert {f"| `{name}` |" in page for name in entries} == {True}
    assert {name: table[name] for name in table if name in entries} == {
        name: (entry.min_score, entry.starting_policy["min_score"])
        for name, entry in entries.items()
        if name != "vlm"
    }


def test_every_checkpoint_that_is_checked_online_is_in_the_table(page: str) -> None:
    expected = json.loads(published_checkpoints.EXPECTED.read_text())
    models = {one["model"] for one in expected["checkpoints"]}

    assert {model for model in models if f"`{model}@COMMIT`" not in page} <= {"facebook/detr-resnet-50"}


def test_the_speeds_of_the_page_are_those_of_the_measurement(page: str, project_root: Path) -> None:
    speed = json.loads((project_root / "docs/teachers_speed.json").read_text())
    each = {name: values[0] for name, values in speed["images_per_s"].items()}
    told = " ".join(page.split())

    assert f"pipeline {each['pipeline']:.3f} images/s, batches of four {each['batched']:.3f}" in told
    assert f"labeler {each['labeler']:.3f}" in told and f"{speed['images']} photographs" in told
    assert f"{each['labeler'] / each['pipeline']:.2f} times the pipeline" in told
    assert f"and {each['labeler'] / each['batched']:.2f} times the batches" in told
