"""Parquet made and read once per content: a simulation repeats the same few tables some hundred thousand times.

Only functions of their arguments are remembered, so that the code under test runs as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from engine import plain_parquet
from engine.ledger import commits, evidence, rows
from schemas import arrow

_tables: dict[tuple[int, int, frozenset[tuple[str, str]]], pa.Table] = {}
_bytes: dict[int, bytes] = {}
_read: dict[tuple[bytes, int], Rows] = {}
_digests: dict[tuple[int, int], str] = {}
_NONE: list[dict[str, Any]] = []


class Rows:
    """As much of a table as the ledger asks for, its rows made once."""

    def __init__(self, table: pa.Table) -> None:
        self.num_rows = table.num_rows
        self._rows = table.to_pylist()

    def to_pylist(self) -> list[dict[str, Any]]:
        """As Table.to_pylist, the same list every time."""
        return self._rows


@contextmanager
def remembered() -> Iterator[None]:
    """Within, the ledger's Parquet comes from memory when it was made or read before."""
    with ExitStack() as patches:
        for module in (commits, evidence):
            patches.enter_context(patch.object(module, "read_table", _read_table))
        for name, function in (
            ("table_of", _table_of),
            ("table_bytes", _table_bytes),
            ("rows_digest", _rows_digest),
        ):
            patches.enter_context(patch.object(commits, name, function))
        yield


def _table_of(rows: list[dict[str, Any]], schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Table:
    # the rows of the simulated job are made once and live on, so their identity is their content
    key = (id(rows), id(schema), frozenset(metadata.items()))
    if key not in _tables:
        _tables[key] = arrow.table_of(rows, schema, dict(metadata))
    return _tables[key]


def _table_bytes(table: pa.Table, row_group_size: int) -> bytes:
    if id(table) not in _bytes:
        _bytes[id(table)] = plain_parquet.table_bytes(table, row_group_size)
    return _bytes[id(table)]


def _read_table(data: bytes, schema: pa.Schema, where: str) -> Rows:
    key = (data, id(schema))
    if key not in _read:
        _read[key] = Rows(plain_parquet.read_table(data, schema, where))
    return _read[key]


def _rows_digest(kept: list[dict[str, Any]], refused: list[dict[str, Any]]) -> str:
    refused = refused or _NONE
    key = (id(kept), id(refused))
    if key not in _digests:
        _digests[key] = rows.rows_digest(kept, refused)
    return _digests[key]
