"""A GLIP directory with a missing file, or one of another kind, is refused by every reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo.initial_model import write_start
from pipelines.demo.world.settings import WorldSettings
from schemas.errors import ConfigError, NotFoundError
from student.evaluate.predictors import PromptPredictor


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return write_start(tmp_path / "teacher", WorldSettings())


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer_config.json"])
def test_an_evaluation_never_goes_on_with_default_sizes_or_tokens(teacher: Path, name: str) -> None:
    (teacher / name).unlink()

    with pytest.raises(NotFoundError, match=f"has no {name}"):
        PromptPredictor(teacher, 1)


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer.json"])
def test_a_file_of_another_kind_is_told_by_its_directory(teacher: Path, name: str) -> None:
    (teacher / name).write_text("[1]")

    with pytest.raises(
        ConfigError, match="teacher: its configuration, processor or tokenizer cannot be read"
    ):
        PromptPredictor(teacher, 1)
