"""Keys of Parquet rows: the column of keys, and the text of each key.

The text represents the cell exactly, so different values have different texts. A cell without such a text is rejected
with its row. No key is invented.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Container

import pyarrow as pa

from schemas.errors import SampleRejectedError

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
KEY_COLUMNS = ("key", "__key__")  # ours; that of WebDataset in Parquet files of the Hugging Face Hub
CODE = "KEY_BAD"
MAX_CHARS = 16_384
KINDS = "text, bytes that are text, or whole numbers"
_SHOWN = 40  # characters or bytes of a value in a message


def key_column(names: list[str], taken: Container[str | None]) -> str | None:
    """Return the column of keys; None if there is none, then a row's index is its key.

    taken: columns that have another meaning
    """
    return next((name for name in KEY_COLUMNS if name in names and name not in taken), None)


def is_text_key(kind: pa.DataType) -> bool:
    """Return whether a column has text, dictionary-encoded or not."""
    kind = _value_type(kind)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def is_key(kind: pa.DataType) -> bool:
    """Return whether a column of this type can have keys: text, bytes or numbers."""
    return is_text_key(kind) or _is_bytes(_value_type(kind)) or _is_number(_value_type(kind))


def key_texts(column: pa.Array, name: str, first: int) -> list[str | SampleRejectedError]:
    """Return the key in each cell of a column of `is_key` type, or why the cell has no key.

    Text is kept as it is, blanks included. A whole number of any type becomes its decimal digits.
    first: row of the first cell, counted from 0
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text_key(column.type):  # pyarrow would reject invalid UTF-8 for the whole column
        column = column.cast(pa.large_binary())
    return [
        _parse_key(value, f"row {row}: column {name!r}")
        for row, value in enumerate(column.to_pylist(), first)
    ]


def _parse_key(value: bytes | int | float | decimal.Decimal | None, where: str) -> str | SampleRejectedError:
    if value is None:
        return SampleRejectedError(CODE, f"{where} is null, expected a key; write one in every row")
    try:
        return _decode_key(value) if isinstance(value, bytes) else _format_number(value)
    except ValueError as error:
        return SampleRejectedError(CODE, f"{where} {error}")


def _decode_key(value: bytes) -> str:
    if not value:
        raise ValueError("is empty, expected a key; write one in every row")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        shown = value[:_SHOWN].hex(" ")
        raise ValueError(f"holds bytes that are not UTF-8 ({shown}); write keys as text") from None
    if len(text) > MAX_CHARS:
        raise ValueError(f"holds {len(text)} characters, at most {MAX_CHARS}; shorten the key")
    return text


def _format_number(value: int | float | decimal.Decimal) -> str:
    if math.isfinite(value):
        digits, parts = value.as_integer_ratio()
        if parts == 1:
            return str(digits)
    raise ValueError(f"holds {str(value)[:_SHOWN]}, expected a whole number; write keys as text")


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))
