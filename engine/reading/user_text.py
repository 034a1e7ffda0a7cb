"""Read small text files that a user names on the command line: lists of names, JSON, key maps.

Invalid bytes are a ConfigError that names the file. A byte order mark is ignored.
"""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

from pydantic import JsonValue

from engine.reading.strict_json import unique_fields
from schemas.errors import ConfigError, NotFoundError

KEY, SHARD = "key", "shard"


def read_text(path: Path, option: str) -> str:
    """Read the text of a file. `option` is its name on the command line.

    raises: NotFoundError, ConfigError if it is not UTF-8
    """
    if not path.is_file():
        raise NotFoundError(f"{option} {path}: no such file; correct the path")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} {path}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


def read_json(path: Path, option: str) -> JsonValue:
    """Read the JSON value of a file. Raises NotFoundError, and ConfigError for invalid JSON or a duplicate field."""
    try:
        value: JsonValue = json.loads(read_text(path, option), object_pairs_hook=unique_fields)
        return value
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option} {path}: not valid JSON: {error}; correct the file") from error


def read_key_map(path: Path, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a CSV that maps samples of shards to names, with columns shard, key and at least one of `names`.

    raises: NotFoundError; ConfigError for another table, a row without shard, key or name, or a duplicate sample
    """
    where = f"--key-map {path}"
    rows = _table(read_text(path, "--key-map"), where)
    wanted = f"expected the columns {SHARD}, {KEY} and {' or '.join(names)}"
    if not rows or not {SHARD, KEY} <= rows[0].keys() or not rows[0].keys() & set(names):
        raise ConfigError(f"{where}: {wanted}")
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(rows, start=1):
        if not row[SHARD] or not row[KEY] or not any(row.get(name) for name in names):
            raise ConfigError(f"{where}, row {number}: a cell is empty; {wanted}")
        if (row[SHARD], row[KEY]) in seen:
            raise ConfigError(f"{where}, row {number}: {row[SHARD]} {row[KEY]} occurs twice; keep one")
        seen.add((row[SHARD], row[KEY]))
    return rows


def _table(text: str, where: str) -> list[dict[str, str]]:
    try:
        return [dict(row) for row in csv.DictReader(StringIO(text, newline=""))]
    except csv.Error as error:
        raise ConfigError(f"{where}: not valid CSV: {error}") from error
