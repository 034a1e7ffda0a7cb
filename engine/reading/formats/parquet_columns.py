"""Columns of a Parquet file from strangers: which types are read as what, and how their values become Python's.

Promise: a type that is not named here is not read.
"""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_image(kind: pa.DataType) -> bool:
    """Whether a column may hold images: bytes, or bytes with a path."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type) and kind.num_fields <= 2
    return _is_bytes(kind)


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column holds numbers, truth values or text, or lists of them."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_scalar(kind.value_type)
    return _is_scalar(kind)


def is_spans(kind: pa.DataType) -> bool:
    """Lists of lists of whole numbers; the inner ones may be of fixed size."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    inner = kind.value_type
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(inner) for test in tests) and bool(pa.types.is_integer(inner.value_type))


def _is_scalar(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null, is_text)
    return any(test(kind) for test in tests)


def column_values(column: pa.Array) -> list[Any]:
    """Python values; text stays bytes, since pyarrow checks its UTF-8 only when it is too late for one row."""
    if is_text(column.type):
        return list(
            column.cast(pa.binary() if pa.types.is_string(column.type) else pa.large_binary()).to_pylist()
        )
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:  # in a list of texts: the list counts as absent, its row and its mates stay
        values = [_or_none(column[at]) for at in range(len(column))]
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]


def _or_none(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return None
