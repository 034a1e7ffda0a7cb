"""A chunker is added by one new module: named in a configuration, or installed with an entry point."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jsonschema import ValidationError as InvalidSchemaValue
from jsonschema import validate
from typer.testing import CliRunner

from pipelines.cli import build_app
from pipelines.config import load_settings
from pipelines.label.job import JobConfig
from schemas.errors import ConfigError
from schemas.registry import Registry
from teacher.factories import finder_digest, make_finder
from teacher.phrases.chunkers.registry import CHUNKERS, ChunkerEntry
from teacher.settings import PhraseSettings

COLORS = """
from teacher.phrases.chunkers.registry import ChunkerEntry
from teacher.phrases.text.token_lists import Chunk

def find_colors(words):
    for i, form in enumerate(words.lower):
        if form in ("red", "blue"):
            yield Chunk(i, i + 2, i + 1)

ENTRY = ChunkerEntry(description="colored things", make=lambda nlp: find_colors, version=%d, uses_parse=False)
"""


@pytest.fixture
def colors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module with a chunker; return its reference."""
    (tmp_path / "color_chunks.py").write_text(COLORS % 1)
    (tmp_path / "color_chunks_2.py").write_text(COLORS % 2)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("color_chunks", "color_chunks_2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "color_chunks:ENTRY"


def test_a_configuration_names_a_chunker_of_its_own(colors: str) -> None:
    words = [
        "phrases",
        "a red dog on a blue mat by a tree",
        "--pipeline",
        "lexicon",
        "--chunker",
        colors,
        "--json",
    ]

    answer = CliRunner().invoke(build_app(), words)

    assert answer.exit_code == 0, answer.stderr
    assert [phrase["text"] for phrase in json.loads(answer.stdout)["phrases"]] == ["red dog", "blue mat"]


def test_an_installed_package_adds_a_chunker(
    colors: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "colorpack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colorpack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{CHUNKERS.group}]\ncolors = {colors}\n")
    monkeypatch.delitem(CHUNKERS.__dict__, "_references", raising=False)

    try:
        assert "colors" in CHUNKERS.names()
        (found,) = make_finder({"pipeline": "lexicon", "chunker": "colors"}).find(["a red dog"])
    finally:
        CHUNKERS.__dict__.pop("_references")

    assert [phrase.text for phrase in found.phrases] == ["red dog"]


def test_the_digest_follows_the_version_of_a_chunker(colors: str) -> None:
    names = (colors, "color_chunks_2:ENTRY", "noun_chunks")

    assert len({finder_digest({"chunker": name}) for name in names}) == 3
    assert CHUNKERS.load("color_chunks_2:ENTRY").version == 2


def test_an_unknown_chunker_is_reported_at_its_place_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "input: {urls: [a.tar]}\noutput: {url: out}\nteacher: {kind: glip, model: m}\nphrases:\n  chunker: colours\n"
    )

    with pytest.raises(
        ConfigError, match=r"job\.yaml:5:3: .*unknown; expected one of given, ngrams, noun_chunks, "
    ):
        load_settings(tmp_path / "job.yaml", JobConfig)


def test_the_schema_of_a_job_describes_every_chunker() -> None:
    field = PhraseSettings.model_json_schema()["properties"]["chunker"]
    names = field["anyOf"][0]["enum"]

    assert names == ["given", "ngrams", "noun_chunks", "pos_grammar"]
    assert all(f"{name}: {CHUNKERS.load(name).description}" in field["description"] for name in names)
    assert "or module:attribute of your own" in field["description"]
    assert field["default"] == "noun_chunks"


def test_the_schema_accepts_the_chunkers_that_a_job_accepts(colors: str) -> None:
    schema = PhraseSettings.model_json_schema()

    for name in ("ngrams", PhraseSettings(chunker=colors).chunker):
        validate({"chunker": name}, schema)
    with pytest.raises(InvalidSchemaValue):
        validate({"chunker": "colours"}, schema)


def test_a_file_that_defines_no_entry_is_no_chunker() -> None:
    assert isinstance(CHUNKERS, Registry) and "dependency" not in CHUNKERS.names()
    assert all(isinstance(entry, ChunkerEntry) for entry in CHUNKERS.load_all().values())
