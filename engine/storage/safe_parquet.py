"""Parquet without code: the raw footer is judged before pyarrow looks at it, and our own files hold plain columns.

Promise: no Arrow extension type is ever made from a file. Making one runs Python that some library registered
(`import ray.data` is enough), and pyarrow makes them when it merely reads a schema, whatever its options say.
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


class UnsafeFooterError(ValueError):
    """Not the end of a Parquet file, or one that is too long."""


def read_footer(file: BinaryIO) -> bytes:
    """The footer's raw bytes. Raises UnsafeFooterError."""
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
    """Whether base64 text in the footer (the stored Arrow schema, wherever it begins) names an extension type."""
    for run in re.finditer(rb"[A-Za-z0-9+/]{24,}", footer):
        for shift in range(4):
            text = run.group()[shift:]
            if _MARK in base64.b64decode(text[: len(text) // 4 * 4]):
                return True
    return _MARK in footer


def table_bytes(table: pa.Table, row_group_size: int) -> bytes:
    """The table as a Parquet file (zstd) that is a function of its rows, schema and metadata.

    Without statistics: they would copy captions into the footer, and a caption must not look like a type there.
    """
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_size, write_statistics=False)
    return sink.getvalue()


def read_table(data: bytes, schema: pa.Schema, where: str) -> pa.Table:
    """The table in the bytes of a file of ours, of exactly the given schema. Raises ConflictError."""
    with _unreadable_told(where):
        return _opened(data, schema, where).read(use_threads=False)


def read_batches(
    data: bytes, schema: pa.Schema, where: str, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """As `read_table`, at most so many rows decoded at a time, of all or some columns."""
    with _unreadable_told(where):
        file = _opened(data, schema, where)
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)


def _opened(data: bytes, schema: pa.Schema, where: str) -> pq.ParquetFile:
    if has_extension_type(read_footer(io.BytesIO(data))):
        raise ConflictError(
            f"{where} names an Arrow extension type; Groundswell wrote no such file, do not use it"
        )
    file = pq.ParquetFile(pa.BufferReader(data))
    if not file.schema_arrow.equals(schema):
        raise ConflictError(
            f"{where} has other columns than this version of Groundswell writes: {file.schema_arrow.names[:20]}"
        )
    return file


@contextmanager
def _unreadable_told(where: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConflictError(f"{where} is not a readable Parquet file: {error}") from error
