"""The class names of a label map: a JSON object of names by index."""

from __future__ import annotations

from pathlib import Path

from engine.reading.user_text import read_json
from schemas.errors import ConfigError
from student.gold.account import is_encodable
from student.gold.class_names import is_readable, normalize_name, refuse_special_token


def read_label_map(path: Path) -> dict[str, str]:
    """Return class names by index as text: `{"0": "person", ...}`. Raises NotFoundError and ConfigError."""
    value = read_json(path, "--label-map")
    names = value if isinstance(value, dict) else {}
    readable = {
        key: normalize_name(name)
        for key, name in names.items()
        if isinstance(name, str) and is_encodable(name) and is_readable(normalize_name(name))
    }
    if not readable or len(readable) != len(names):
        raise ConfigError(f'--label-map {path}: expected {{"0": "person", "1": ...}}')
    for name in readable.values():
        refuse_special_token(name, f"--label-map {path}: {name!r}")
    labels = {key.strip(): name for key, name in readable.items()}
    if len(labels) != len(names):
        indices = [key.strip() for key in readable]
        index = next(index for index in indices if indices.count(index) > 1)
        raise ConfigError(
            f"--label-map {path}: class index {index!r} occurs twice, apart from blanks; keep one"
        )
    return labels
