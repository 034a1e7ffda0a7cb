"""Parquet shards from strangers: inline images, captions and a few known columns.

Promise: the schema is judged before a column is read, extension types are refused unseen (reading one can run code),
and a row group is streamed in small batches.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.settings import ReadingSettings
from schemas.errors import ShardDamaged

MAX_ROW_GROUP_BYTES = 4 * 2**30
MAX_FOOTER_BYTES = 64 * 2**20
BATCH_ROWS = 32
# the columns that img2dataset and its kin write, and ours
KNOWN = ("key", "url", "URL", "license", "LICENSE", "sha256", "original_width", "original_height")


class ParquetTable:
    """An open Parquet file whose schema was found fit. Rows come as plain dictionaries."""

    def __init__(self, path: Path, reading: ReadingSettings) -> None:
        self._path = path
        with _damage_named(path):
            self._file = _open_checked(path)
            schema = self._file.schema_arrow
            self.image_column = image_column(schema, reading.image, str(path))
            self.caption_column = _caption_column(schema, reading.caption, str(path))
        names = {self.image_column, self.caption_column, *reading.keep, *KNOWN}
        self._columns = [name for name in schema.names if name in names]
        for name in self._columns:
            if name not in (self.image_column, self.caption_column) and not _is_plain(
                schema.field(name).type
            ):
                raise ShardDamaged(
                    "SHARD_SCHEMA", f"{path}: column {name!r} has type {schema.field(name).type}"
                )

    @property
    def rows(self) -> int:
        """Rows of the whole file."""
        return int(self._file.metadata.num_rows)

    def read(self, first: int, count: int, images: bool) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(row group, row inside it, values) of rows [first, first + count), images left out on request."""
        wanted = [name for name in self._columns if images or name != self.image_column]
        start = 0
        for group in range(self._file.metadata.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            low, high = max(first - start, 0), min(first + count - start, size)
            if low < high:
                yield from ((group, row, values) for row, values in self._group(group, low, high, wanted))
            start += size

    def _group(
        self, group: int, low: int, high: int, wanted: list[str]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        row = 0
        with _damage_named(self._path):
            for batch in self._file.iter_batches(BATCH_ROWS, row_groups=[group], columns=wanted):
                skip, take = max(low - row, 0), min(high - row, batch.num_rows)
                if skip < take:
                    part = batch.slice(skip, take - skip)
                    columns = {name: _values(part.column(name)) for name in part.schema.names}
                    for at in range(part.num_rows):
                        yield row + skip + at, {name: values[at] for name, values in columns.items()}
                row += batch.num_rows
                if row >= high:
                    return


def read_parquet_image(path: Path, row_group: int, row: int, names: Sequence[str]) -> bytes:
    """The image bytes of one row; b"" for a null. The column is found as in `image_column`."""
    with _damage_named(path):
        file = _open_checked(path)
        column = image_column(file.schema_arrow, names, str(path))
        seen = 0
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[row_group], columns=[column]):
            if row < seen + batch.num_rows:
                return image_bytes(_values(batch.column(column).slice(row - seen, 1))[0]) or b""
            seen += batch.num_rows
    raise ShardDamaged(
        "INPUT_CHANGED", f"{path}: row group {row_group} has {seen} rows, row {row} was asked for"
    )


def image_column(schema: pa.Schema, names: Sequence[str], where: str) -> str:
    """The first of the job's image names that is a column of bytes, then `image`, then the only column of bytes."""
    fit = [field.name for field in schema if _is_image(field.type)]
    for name in (*names, "image"):
        if name in fit:
            return str(name)
    if len(fit) == 1:
        return str(fit[0])
    raise ShardDamaged(
        "SHARD_SCHEMA",
        f"{where}: no image column; columns of bytes or struct<bytes, path>: {fit}, asked for: {list(names)}, "
        f"all columns: {schema.names[:20]}",
    )


def image_bytes(value: Any) -> bytes | None:
    """Bytes of an image cell, plain or `{bytes, path}`; the path is never followed."""
    return value.get("bytes") if isinstance(value, dict) else value


def _open_checked(path: Path) -> pq.ParquetFile:
    if _names_extension_type(_footer(path)):
        raise ShardDamaged("SHARD_SCHEMA", f"{path}: Arrow extension types are refused; store plain columns")
    file = pq.ParquetFile(path, arrow_extensions_enabled=False)
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size
        if not 0 <= size <= MAX_ROW_GROUP_BYTES:
            raise ShardDamaged("SHARD_LIMIT", f"{path}: row group {group} unpacks to {size} bytes")
    return file


def _footer(path: Path) -> bytes:
    """The footer's raw bytes: even `pq.read_metadata` would make the extension types that it names."""
    with open(path, "rb") as file:
        total = file.seek(0, os.SEEK_END)
        file.seek(max(total - 8, 0))
        tail = file.read(8)
        if total < 12 or tail[4:] != b"PAR1":
            raise ShardDamaged(
                "SHARD_FORMAT", f"{path}: {total} bytes that do not end as a Parquet file does"
            )
        size = int.from_bytes(tail[:4], "little")
        if size > MAX_FOOTER_BYTES:
            raise ShardDamaged("SHARD_LIMIT", f"{path}: a footer of {size} bytes, at most {MAX_FOOTER_BYTES}")
        file.seek(max(total - 8 - size, 0))
        return file.read(size)


def _names_extension_type(footer: bytes) -> bool:
    """Whether base64 text in the footer (the stored Arrow schema, wherever it begins) names an extension type."""
    for run in re.finditer(rb"[A-Za-z0-9+/]{24,}", footer):
        for shift in range(4):
            text = run.group()[shift:]
            if b"ARROW:extension:" in base64.b64decode(text[: len(text) // 4 * 4]):
                return True
    return b"ARROW:extension:" in footer


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What pyarrow raises on bad bytes, as ShardDamaged."""
    try:
        yield
    except FileNotFoundError as error:
        raise ShardDamaged("SHARD_MISSING", f"{path} does not exist") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ShardDamaged("SHARD_FORMAT", f"{path}: {type(error).__name__}: {error}") from error


def _caption_column(schema: pa.Schema, wanted: str, where: str) -> str:
    for name in (wanted, "caption") if wanted == "txt" else (wanted,):
        if name in schema.names and _is_text(schema.field(name).type):
            return name
    raise ShardDamaged(
        "SHARD_SCHEMA", f"{where}: no text column {wanted!r} for the caption; columns: {schema.names[:20]}"
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type) and kind.num_fields <= 2
    return _is_bytes(kind)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_scalar(kind.value_type)
    return _is_scalar(kind)


def _is_scalar(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null, _is_text)
    return any(test(kind) for test in tests)


def _values(column: pa.Array) -> list[Any]:
    """Python values; text stays bytes, since pyarrow checks its UTF-8 only when it is too late for one row."""
    if _is_text(column.type):
        return list(
            column.cast(pa.binary() if pa.types.is_string(column.type) else pa.large_binary()).to_pylist()
        )
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in column.to_pylist()]
