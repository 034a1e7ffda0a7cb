"""What `pip install` gets: every room with its data, no tests, and the names that spaCy finds by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOMS = ("schemas", "engine", "teacher", "student", "pipelines", "deploy")
ALONE = """
import spacy
from pathlib import Path
import teacher
TEACHER = Path(teacher.__file__).parent
nlp = spacy.load(TEACHER / "phrases/models/en_groundswell")
nlp.add_pipe("groundswell_phrases")
import teacher.phrases.component
print(teacher.phrases.component.__file__)
doc = nlp("a photo of a red dog near the old tree")
print([span.text for span in doc.spans["phrases"]])
"""


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project_root, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(project_root: Path, wheel: Path) -> None:
    files = {
        path.relative_to(project_root).as_posix()
        for room in ROOMS
        for path in (project_root / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert held == files
    model = "teacher/phrases/models/en_groundswell"
    assert {
        f"{model}/meta.json",
        f"{model}/parser/model",
        f"{model}/LICENSE",
        f"{model}/ATTRIBUTION.md",
    } <= held
    assert {"teacher/phrases/data/lexicon.tsv.xz", "pipelines/audit/static/page.js"} <= held


def test_spacy_finds_the_components_of_an_installed_package(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    place, phrases = done.stdout.splitlines()
    assert Path(place).is_relative_to(tmp_path) and phrases == "['a red dog', 'the old tree']"
