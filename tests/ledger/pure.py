"""Parquet made and read once per content: a simulation repeats the same few tables some hundred thousand times.

Only functions of their arguments are remembered, so that the code under test runs as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from engine.ledger import commits, evidence, rows
from engine.ledger.snapshots import segments
from engine.storage import safe_parquet
from schemas import arrow

_known: dict[Any, Any] = {}
_NONE: list[dict[str, Any]] = []


@contextmanager
def remembered() -> Iterator[None]:
    """Within, the ledger's Parquet comes from memory when it was made or read before."""
    replaced: list[tuple[Any, str, Any]] = [
        (commits, "build_table", _table_of),
        (commits, "table_bytes", _table_bytes),
        (commits, "read_table", _read_rows),
        (commits, "rows_digest", _rows_digest),
        (evidence, "read_table", _read_rows),
        (segments, "table_bytes", _table_bytes),
        (segments, "read_table", _read_table),
        (segments, "read_batches", _read_batches),
        (segments, "_totals", _of_identity(segments._totals)),
        (segments, "_entry", _of_identity(segments._entry)),
        (segments, "pa", _Arrow()),
    ]
    with ExitStack() as patches:
        for module, name, function in replaced:
            patches.enter_context(patch.object(module, name, function))
        yield


class Rows:
    """As much of a table or a batch as the ledger asks for, its rows made once."""

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        self.num_rows = table.num_rows
        self._rows = table.to_pylist()
        self._columns = {name: Rows.Column(table.column(name).to_pylist()) for name in table.schema.names}

    class Column:
        """A column's values."""

        def __init__(self, values: list[Any]) -> None:
            self._values = values

        def to_pylist(self) -> list[Any]:
            """The same list every time."""
            return self._values

    def to_pylist(self) -> list[dict[str, Any]]:
        """The same list every time."""
        return self._rows

    def column(self, name: str) -> Rows.Column:
        """One column."""
        return self._columns[name]


class _Table:
    """pyarrow's Table, of which those of equal rows are one object."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pa.Table, name)

    def from_pylist(self, kept: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        """As the original."""
        key = ("table", repr(kept), id(schema))
        return _once(key, lambda: pa.Table.from_pylist(kept, schema=schema))


class _Arrow:
    """pyarrow with such tables."""

    Table = _Table()

    def __getattr__(self, name: str) -> Any:
        return getattr(pa, name)

    def concat_tables(self, tables: Iterable[pa.Table]) -> Any:
        """Sorting follows, and is remembered with it."""
        parts = list(tables)
        return SimpleNamespace(
            sort_by=lambda name: _once(
                ("merged", *map(id, parts), name), lambda: pa.concat_tables(parts).sort_by(name)
            )
        )


def _once(key: Any, make: Callable[[], Any]) -> Any:
    if key not in _known:
        _known[key] = make()
    return _known[key]


def _of_identity(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of objects that are made once and live on, as those here."""
    return lambda value: _once((function, id(value)), lambda: (value, function(value)))[1]


def _table_of(kept: list[dict[str, Any]], schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Table:
    # the rows of the tiny job are made once and live on, so their identity is their content
    key = ("rows", id(kept), id(schema), frozenset(metadata.items()))
    return _once(key, lambda: arrow.build_table(kept, schema, dict(metadata)))


def _table_bytes(table: pa.Table, row_group_size: int) -> bytes:
    # the table is kept, so that no other one takes its place in memory
    key = ("bytes", id(table))
    return bytes(_once(key, lambda: (table, safe_parquet.table_bytes(table, row_group_size)))[1])


def _read_rows(data: bytes, schema: pa.Schema, where: str) -> Rows:
    return _once(("read", data, id(schema)), lambda: Rows(safe_parquet.read_table(data, schema, where)))


def _read_table(data: bytes, schema: pa.Schema, where: str) -> pa.Table:
    return _once(("whole", data, id(schema)), lambda: safe_parquet.read_table(data, schema, where))


def _read_batches(data: bytes, schema: pa.Schema, where: str, *options: Any, **named: Any) -> Iterator[Rows]:
    key = ("batches", data, id(schema), repr((options, named)))
    yield from _once(
        key, lambda: [Rows(b) for b in safe_parquet.read_batches(data, schema, where, *options, **named)]
    )


def _rows_digest(kept: list[dict[str, Any]], refused: list[dict[str, Any]]) -> str:
    refused = refused or _NONE
    key = ("digest", id(kept), id(refused))
    return str(_once(key, lambda: rows.rows_digest(kept, refused)))
