"""Small text files that a user names at the command line: lists of names, JSON, key maps.

Promise: bytes that are no such text are a ConfigError that names the file; a mark of the byte order is no part of it.
"""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError, NotFoundError

KEY, SHARD = "key", "shard"


def read_text(path: Path, option: str) -> str:
    """The text of a file. option: how the command line calls it. Raises NotFoundError, ConfigError for no UTF-8."""
    if not path.is_file():
        raise NotFoundError(f"{option} {path}: no such file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} {path}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


def read_json(path: Path, option: str) -> Any:
    """The JSON value of a file. Raises NotFoundError, ConfigError for no JSON or an object that names a field twice."""
    try:
        return json.loads(read_text(path, option), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option} {path}: no JSON: {error}") from error


def read_key_map(path: Path, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV that ties samples of shards to names: columns shard, key and at least one of `names`.

    raises: NotFoundError; ConfigError for no such table, a row without shard, key or name, a sample that stands there
            twice
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
            raise ConfigError(f"{where}, row {number}: {row[SHARD]} {row[KEY]} stands there twice; leave one")
        seen.add((row[SHARD], row[KEY]))
    return rows


def _table(text: str, where: str) -> list[dict[str, str]]:
    try:
        return [dict(row) for row in csv.DictReader(StringIO(text, newline=""))]
    except csv.Error as error:
        raise ConfigError(f"{where}: no CSV: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object names a field twice")
    return value
