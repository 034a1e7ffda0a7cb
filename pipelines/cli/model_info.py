"""What a model directory or a detector file is, read from its files without building the model."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from schemas.errors import NotFoundError
from teacher.models.directory_facts import describe_directory
from teacher.models.hub import locate_model
from teacher.registry import TEACHERS


def describe_model(model: Path) -> dict[str, JsonValue]:
    """Return kind, sizes and digests of a model of any teacher, or of another Hugging Face directory.

    raises: NotFoundError, ConfigError for a directory without config.json and weights, or a file that is not a model
    """
    path = Path(locate_model(str(model)))
    if path.exists():
        for teacher in TEACHERS.load_all().values():
            if teacher.recognizes(path):
                return teacher.describe(path)
    if not path.is_dir():
        raise NotFoundError(f"model {str(path)!r} does not exist; give a model directory or a .onnx file")
    return describe_directory(path)
