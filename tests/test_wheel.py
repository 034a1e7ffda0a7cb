"""The wheel has every package with its data and no tests, and spaCy finds its components in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.import_graph import PACKAGES

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


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(project_root: Path, wheel: Path) -> None:
    files = {
        path.relative_to(project_root).as_posix()
        for package in PACKAGES
        for path in (project_root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert packed == files
    model = "teacher/phrases/models/en_groundswell"
    assert {
        f"{model}/meta.json",
        f"{model}/parser/model",
        f"{model}/LICENSE",
        f"{model}/ATTRIBUTION.md",
    } <= packed
    data = {"teacher/phrases/data/lexicon.tsv.xz", "pipelines/audit/static/page.js", "groundswell/py.typed"}
    assert data <= packed


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
