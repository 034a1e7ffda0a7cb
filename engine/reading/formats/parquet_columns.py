"""Columns of an untrusted Parquet file: the types that are read, and their conversion to Python values.

A type that is not listed here is not read.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import pyarrow as pa

Cell: TypeAlias = "bool | int | float | str | bytes | list[Cell] | dict[str, Cell] | None"
"""The Python value of a cell."""


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column has text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_image(kind: pa.DataType) -> bool:
    """Return whether a column may have images: bytes, or bytes with a path."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type) and kind.num_fields <= 2
    return _is_bytes(kind)


def is_plain(kind: pa.DataType) -> bool:
    """Return whether a column has numbers, booleans or text, or lists of them."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_scalar(kind.value_type)
    return _is_scalar(kind)


def is_spans(kind: pa.DataType) -> bool:
    """Return whether a column has lists of lists of whole numbers; the inner lists may have a fixed size."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    inner = kind.value_type
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(inner) for test in tests) and bool(pa.types.is_integer(inner.value_type))


def _is_scalar(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null, is_text)
    return any(test(kind) for test in tests)


def column_values(column: pa.Array) -> list[Cell]:
    """Convert to Python values. Text stays bytes: pyarrow would reject invalid UTF-8 for a whole batch of rows."""
    if is_text(column.type):
        return list(
            column.cast(pa.binary() if pa.types.is_string(column.type) else pa.large_binary()).to_pylist()
        )
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        # in a list of texts: the list counts as absent, its row and the other rows stay
        values = [_value_or_none(column[at]) for at in range(len(column))]
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]


def _value_or_none(cell: pa.Scalar) -> Cell:
    try:
        value: Cell = cell.as_py()
        return value
    except UnicodeDecodeError:
        return None
