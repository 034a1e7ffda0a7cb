"""Read Parquet without running code: the raw footer is checked before pyarrow reads it.

No Arrow extension type is ever constructed from a file. Constructing one runs Python code that some library registered
(`import ray.data` is enough), and pyarrow constructs them as soon as it reads a schema, whatever its options are.
Our own files have plain columns only.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import ConflictError

MAX_FOOTER_BYTES = 16 * 2**20
_MARK = b"ARROW:extension:"
_EXPECTED = "expected a file written by this version; restore it or write the output again"


class UnsafeFooterError(ValueError):
    """The file does not end as a Parquet file does, or its footer is too long."""

    stored_name = "UnfitFooter"


def read_footer(file: BinaryIO) -> bytes:
    """Return the raw bytes of the footer. Raises UnsafeFooterError."""
    total = file.seek(0, os.SEEK_END)
    file.seek(max(total - 8, 0))
    tail = file.read(8)
    if total < 12 or tail[4:] != b"PAR1":
        raise UnsafeFooterError(f"{total} bytes that do not end as a Parquet file does")
    size = int.from_bytes(tail[:4], "little")
    if size > MAX_FOOTER_BYTES:
        raise UnsafeFooterError(f"a footer of {size} bytes, at most {MAX_FOOTER_BYTES}")
    file.seek(max(total - 8 - size, 0))
    return file.read(size)


def has_extension_type(footer: bytes) -> bool:
    """Return whether base64 text in the footer (the stored Arrow schema, at any offset) names an extension type."""
    for run in re.finditer(rb"[A-Za-z0-9+/]{24,}", footer):
        for shift in range(4):
            text = run.group()[shift:]
            if _MARK in base64.b64decode(text[: len(text) // 4 * 4]):
                return True
    return _MARK in footer


def table_bytes(table: pa.Table, row_group_size: int) -> bytes:
    """Return the table as a Parquet file (zstd); equal rows, schema and metadata give equal bytes.

    It has no statistics: they would copy captions into the footer, where a caption could look like a type.
    """
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_size, write_statistics=False)
    return sink.getvalue()


def read_table(data: bytes, schema: pa.Schema, where: str) -> pa.Table:
    """Read a table from the bytes of one of our files. Raises ConflictError if it does not have the given schema."""
    with _translate_read_errors(where):
        return _open_checked(data, schema, where).read(use_threads=False)


def read_batches(
    data: bytes, schema: pa.Schema, where: str, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read as `read_table` does, at most `rows` rows at a time, all or some columns."""
    with _translate_read_errors(where):
        file = _open_checked(data, schema, where)
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)


def _open_checked(data: bytes, schema: pa.Schema, where: str) -> pq.ParquetFile:
    if has_extension_type(read_footer(io.BytesIO(data))):
        raise ConflictError(f"{where} has an Arrow extension type; {_EXPECTED}")
    file = pq.ParquetFile(pa.BufferReader(data))
    if not file.schema_arrow.equals(schema):
        raise ConflictError(
            f"{where} has the columns {file.schema_arrow.names[:20]} or other types; {_EXPECTED}"
        )
    return file


@contextmanager
def _translate_read_errors(where: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConflictError(f"{where} is not a readable Parquet file ({error}); {_EXPECTED}") from error
