"""Write and read each Parquet content once: a simulation repeats the same few tables many times.

Only pure functions are cached, so the code under test runs unchanged.
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
def cache_parquet() -> Iterator[None]:
    """Cache the ledger's Parquet inside the block."""
    replaced: list[tuple[Any, str, Any]] = [
        (commits, "build_table", _build_table),
        (commits, "table_bytes", _table_bytes),
        (commits, "read_table", _read_rows),
        (commits, "rows_digest", _rows_digest),
        (evidence, "read_table", _read_rows),
        (segments, "table_bytes", _table_bytes),
        (segments, "read_table", _read_table),
        (segments, "read_batches", _read_batches),
        (segments, "_totals", _cache_by_identity(segments._totals)),
        (segments, "_entry", _cache_by_identity(segments._entry)),
        (segments, "pa", _Arrow()),
    ]
    with ExitStack() as patches:
        for module, name, function in replaced:
            patches.enter_context(patch.object(module, name, function))
        yield


class Rows:
    """The part of a table or batch that the ledger uses, with its rows converted once."""

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        self.num_rows = table.num_rows
        self._rows = table.to_pylist()
        self._columns = {name: Rows.Column(table.column(name).to_pylist()) for name in table.schema.names}

    class Column:
        """A column's values."""

        def __init__(self, values: list[Any]) -> None:
            self._values = values

        def to_pylist(self) -> list[Any]:
            """Return the same list every time."""
            return self._values

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the same list every time."""
        return self._rows

    def column(self, name: str) -> Rows.Column:
        """Return one column."""
        return self._columns[name]


class _Table:
    """pyarrow's Table, with one object for equal rows."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pa.Table, name)

    def from_pylist(self, kept: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        """Build a table as pyarrow does, once for equal rows."""
        key = ("table", repr(kept), id(schema))
        return _compute_once(key, lambda: pa.Table.from_pylist(kept, schema=schema))


class _Arrow:
    """pyarrow with these tables."""

    Table = _Table()

    def __getattr__(self, name: str) -> Any:
        return getattr(pa, name)

    def concat_tables(self, tables: Iterable[pa.Table]) -> Any:
        """Concatenate when sorted; the sorted table is cached."""
        parts = list(tables)
        return SimpleNamespace(
            sort_by=lambda name: _compute_once(
                ("merged", *map(id, parts), name), lambda: pa.concat_tables(parts).sort_by(name)
            )
        )


def _compute_once(key: Any, make: Callable[[], Any]) -> Any:
    if key not in _known:
        _known[key] = make()
    return _known[key]


def _cache_by_identity(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Cache a function by the identity of its argument; the arguments are built once and kept."""
    return lambda value: _compute_once((function, id(value)), lambda: (value, function(value)))[1]


def _build_table(kept: list[dict[str, Any]], schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Table:
    # the rows of the tiny job are made once and live on, so their identity is their content
    key = ("rows", id(kept), id(schema), frozenset(metadata.items()))
    return _compute_once(key, lambda: arrow.build_table(kept, schema, dict(metadata)))


def _table_bytes(table: pa.Table, row_group_size: int) -> bytes:
    # the table is kept, so that no other one takes its place in memory
    key = ("bytes", id(table))
    return bytes(_compute_once(key, lambda: (table, safe_parquet.table_bytes(table, row_group_size)))[1])


def _read_rows(data: bytes, schema: pa.Schema, where: str) -> Rows:
    return _compute_once(
        ("read", data, id(schema)), lambda: Rows(safe_parquet.read_table(data, schema, where))
    )


def _read_table(data: bytes, schema: pa.Schema, where: str) -> pa.Table:
    return _compute_once(("whole", data, id(schema)), lambda: safe_parquet.read_table(data, schema, where))


def _read_batches(data: bytes, schema: pa.Schema, where: str, *options: Any, **named: Any) -> Iterator[Rows]:
    key = ("batches", data, id(schema), repr((options, named)))
    yield from _compute_once(
        key, lambda: [Rows(b) for b in safe_parquet.read_batches(data, schema, where, *options, **named)]
    )


def _rows_digest(kept: list[dict[str, Any]], refused: list[dict[str, Any]]) -> str:
    refused = refused or _NONE
    key = ("digest", id(kept), id(refused))
    return str(_compute_once(key, lambda: rows.rows_digest(kept, refused)))
