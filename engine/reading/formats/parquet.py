"""Read untrusted Parquet shards: inline images, captions and a few known columns.

The schema is checked before a column is read. Extension types are refused without reading them, because that can run
code. A row group is streamed in small batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.reading.formats.parquet_columns import Cell, column_values, is_image, is_plain, is_spans, is_text
from engine.reading.formats.parquet_keys import KEY_COLUMNS, KINDS, is_key, is_text_key, key_column, key_texts
from engine.settings import ReadingSettings
from engine.storage.safe_parquet import has_extension_type, read_footer
from schemas.errors import SampleRejectedError, ShardDamagedError, stored_name
from schemas.ledger import EXACT_KEYS, PLAIN_KEYS, KeyForm

# Details are stored in the failures of snapshots, so their texts must not change.
MAX_ROWS = 20_000_000
MAX_ROW_GROUP_BYTES = 4 * 2**30
MAX_LIST_VALUES = 8_000_000
BATCH_ROWS = 32
_KEYS_AT_ONCE = 4096
BATCH_BYTES = 32 * 2**20
_STREAM_BYTES = 2**20
_MAX_GROUPS = 200_000
# the columns that img2dataset and similar tools write, besides the key
KNOWN_COLUMNS = ("url", "URL", "license", "LICENSE", "sha256", "original_width", "original_height")


class Row(NamedTuple):
    """A row: its row group, its index in the group, its values, and its key (None if there is no key column)."""

    group: int
    row: int
    values: dict[str, Cell]
    key: str | SampleRejectedError | None


class ParquetTable:
    """An open Parquet file whose schema was checked. Rows are plain dictionaries. Errors name `url`."""

    def __init__(self, source: Path | BinaryIO, url: str, reading: ReadingSettings) -> None:
        self._url = url
        with _translate_errors(url):
            self._file = _open_parquet(source, url)
            schema = self._file.schema_arrow
            self.image_column = find_image_column(schema, reading.image, url)
            self.caption_column = _find_caption_column(schema, reading.caption, url)
            self._spans_column = reading.spans
            self._key_column = key_column(schema.names, (self.image_column, reading.spans))
            valued = {self.image_column, self.caption_column, reading.spans, *reading.keep, *KNOWN_COLUMNS}
            names = {*valued, self._key_column}
            if reading.spans is not None and reading.spans not in schema.names:
                raise ShardDamagedError("SHARD_SCHEMA", f"{url}: no column {reading.spans!r} for input.spans")
            self._columns = [name for name in schema.names if name in names]
            self._valued = frozenset(name for name in self._columns if name in valued)
            self._check_columns(schema)

    def _check_columns(self, schema: pa.Schema) -> None:
        for name in self._columns:
            if self._columns.count(name) > 1:
                raise ShardDamagedError("SHARD_SCHEMA", f"{self._url}: two columns are called {name!r}")
            kind = schema.field(name).type
            if name == self._key_column and not is_key(kind):
                raise ShardDamagedError(
                    "SHARD_SCHEMA",
                    f"{self._url}: column {name!r} has type {kind}, expected keys: {KINDS}; write the keys as text, or "
                    "drop the column (then positions are the keys)",
                )
            if name == self._spans_column:
                is_allowed = is_spans(kind)
            else:
                is_checked_elsewhere = (
                    name in (self.image_column, self.caption_column) or name not in self._valued
                )
                is_allowed = is_checked_elsewhere or is_plain(kind)
            if not is_allowed:
                raise ShardDamagedError("SHARD_SCHEMA", f"{self._url}: column {name!r} has type {kind}")
        for group in range(self._file.metadata.num_row_groups):
            for chunk in _chunks(self._file, group, self._columns):
                if chunk.num_values > max(MAX_LIST_VALUES, self._file.metadata.row_group(group).num_rows):
                    raise ShardDamagedError(
                        "SHARD_LIMIT",
                        f"{self._url}: column {chunk.path_in_schema!r} of row group {group} has {chunk.num_values} "
                        f"list items, at most {MAX_LIST_VALUES}; leave it out of input.keep",
                    )

    @property
    def rows(self) -> int:
        """The number of rows in the file."""
        return int(self._file.metadata.num_rows)

    def key_form(self) -> KeyForm:
        """Return whether version 2 of the reader gave every row its current key. Reads at most the keys."""
        name = self._key_column
        if name is None:
            return PLAIN_KEYS
        if name != KEY_COLUMNS[0] or not is_text_key(self._file.schema_arrow.field(name).type):
            return EXACT_KEYS
        with _translate_errors(self._url):
            for group in range(self._file.metadata.num_row_groups):
                rows = _batch_rows(self._file, group, [name], _KEYS_AT_ONCE)
                for batch in self._file.iter_batches(
                    rows, row_groups=[group], columns=[name], use_threads=False
                ):
                    if not all(isinstance(key, str) for key in key_texts(batch.column(name), name, 0)):
                        return EXACT_KEYS
        return PLAIN_KEYS

    def read(self, first: int, count: int, images: bool) -> Iterator[Row]:
        """Yield the rows [first, first + count), with images and without keys, or the other way round."""
        wanted = [name for name in self._columns if images or name != self.image_column]
        start = 0
        for group in range(self._file.metadata.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            low, high = max(first - start, 0), min(first + count - start, size)
            if low < high:
                for row, values, key in self._read_group(group, low, high, wanted, None if images else start):
                    yield Row(group, row, values, key)
            start += size

    def _read_group(
        self, group: int, low: int, high: int, wanted: list[str], keys_from: int | None
    ) -> Iterator[tuple[int, dict[str, Cell], str | SampleRejectedError | None]]:
        """Yield (index, values, key) of the rows [low, high) of a row group.

        keys_from: the row of the file with which the group begins; None: without keys
        """
        row = 0
        with _translate_errors(self._url):
            rows = _batch_rows(self._file, group, wanted)
            for batch in self._file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False):
                skip, take = max(low - row, 0), min(high - row, batch.num_rows)
                if skip < take:
                    part = batch.slice(skip, take - skip)
                    columns = {
                        name: column_values(part.column(name)) for name in wanted if name in self._valued
                    }
                    keys = self._keys(part, None if keys_from is None else keys_from + row + skip)
                    for at in range(part.num_rows):
                        values = {name: values[at] for name, values in columns.items()}
                        yield row + skip + at, values, keys[at]
                row += batch.num_rows
                if row >= high:
                    return
            raise ShardDamagedError(
                "SHARD_FORMAT", f"{self._url}: row group {group} holds {row} rows, its footer says more"
            )

    def _keys(self, part: pa.RecordBatch, first: int | None) -> Sequence[str | SampleRejectedError | None]:
        name = self._key_column
        if first is None or name is None:
            return [None] * part.num_rows
        return key_texts(part.column(name), name, first)


def read_parquet_image(path: Path, url: str, row_group: int, row: int, column: str) -> bytes:
    """Read the image bytes of one row; b"" for a null. Raises ShardDamagedError and FileNotFoundError."""
    with _translate_errors(url):
        file = _open_parquet(path, url)
        is_image_column = column in file.schema_arrow.names and is_image(file.schema_arrow.field(column).type)
        if not is_image_column or row_group >= file.metadata.num_row_groups:
            raise ShardDamagedError(
                "INPUT_CHANGED", f"{url}: no image column {column!r} or no row group {row_group}"
            )
        seen = 0
        rows = _batch_rows(file, row_group, [column])
        for batch in file.iter_batches(rows, row_groups=[row_group], columns=[column], use_threads=False):
            if row < seen + batch.num_rows:
                return image_bytes(column_values(batch.column(column).slice(row - seen, 1))[0]) or b""
            seen += batch.num_rows
    raise ShardDamagedError(
        "INPUT_CHANGED", f"{url}: row group {row_group} has {seen} rows, row {row} was asked for"
    )


def find_image_column(schema: pa.Schema, names: Sequence[str], where: str) -> str:
    """Find the image column: the first of `names` that has bytes, then `image`, then the only column of bytes."""
    fit = [field.name for field in schema if is_image(field.type)]
    for name in (*names, "image"):
        if name in fit:
            return str(name)
    if len(fit) == 1:
        return str(fit[0])
    raise ShardDamagedError(
        "SHARD_SCHEMA",
        f"{where}: no image column; columns of bytes or struct<bytes, path>: {fit}, asked for: {list(names)}, "
        f"all columns: {schema.names[:20]}",
    )


def image_bytes(value: Cell) -> bytes | None:
    """Return the bytes of an image cell, plain or `{bytes, path}`; the path is never read."""
    data = value.get("bytes") if isinstance(value, dict) else value
    assert data is None or isinstance(data, bytes), "`is_image` admits only columns of bytes"
    return data


def _open_parquet(source: Path | BinaryIO, url: str) -> pq.ParquetFile:
    if isinstance(source, Path):
        with open(source, "rb") as raw:
            footer = read_footer(raw)
    else:
        footer = read_footer(source)
    if has_extension_type(footer):
        raise ShardDamagedError(
            "SHARD_SCHEMA",
            f"{url}: Arrow extension types are refused; store plain columns",
        )
    file = pq.ParquetFile(
        source,
        arrow_extensions_enabled=False,
        page_checksum_verification=True,
        pre_buffer=False,  # it would load a whole column of a row group
        buffer_size=_STREAM_BYTES,
        thrift_container_size_limit=_MAX_GROUPS,
    )
    _check_footer(file.metadata, url)
    return file


def _check_footer(footer: pq.FileMetaData, url: str) -> None:
    """Check that the numbers of the footer are consistent and within the limits. Raises ShardDamagedError."""
    rows = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        unpacked = max(
            group.total_byte_size,
            *(group.column(i).total_uncompressed_size for i in range(group.num_columns)),
            0,
        )
        if not 0 <= unpacked <= MAX_ROW_GROUP_BYTES or group.total_byte_size < 0:
            raise ShardDamagedError("SHARD_LIMIT", f"{url}: row group {number} unpacks to {unpacked} bytes")
        if group.num_rows < 0:
            raise ShardDamagedError("SHARD_FORMAT", f"{url}: row group {number} has {group.num_rows} rows")
        rows += group.num_rows
    if rows != footer.num_rows:
        raise ShardDamagedError(
            "SHARD_FORMAT", f"{url}: {footer.num_rows} rows, but its row groups hold {rows}"
        )
    if rows > MAX_ROWS:
        raise ShardDamagedError("SHARD_LIMIT", f"{url}: {rows} rows, at most {MAX_ROWS}; split the file")


def _chunks(file: pq.ParquetFile, group: int, columns: Sequence[str]) -> Iterator[pq.ColumnChunkMetaData]:
    """Yield the column chunks of a row group that belong to the given columns."""
    stored = file.metadata.row_group(group)
    for number in range(stored.num_columns):
        chunk = stored.column(number)
        if any(
            chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in columns
        ):
            yield chunk


def _batch_rows(file: pq.ParquetFile, group: int, columns: Sequence[str], at_most: int = BATCH_ROWS) -> int:
    """Return how many rows to read at once, so that memory is bounded even if all rows repeat one large value."""
    unpacked = sum(int(chunk.total_uncompressed_size) for chunk in _chunks(file, group, columns))
    return max(1, min(at_most, BATCH_BYTES // max(unpacked, 1)))


@contextmanager
def _translate_errors(url: str) -> Iterator[None]:
    """Translate what pyarrow raises for invalid bytes to ShardDamagedError, but not a missing file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ShardDamagedError("SHARD_FORMAT", f"{url}: {stored_name(error)}: {error}") from error


def _find_caption_column(schema: pa.Schema, wanted: str, where: str) -> str:
    for name in (wanted, "caption") if wanted == "txt" else (wanted,):
        if name in schema.names and is_text(schema.field(name).type):
            return name
    raise ShardDamagedError(
        "SHARD_SCHEMA",
        f"{where}: no text column {wanted!r} for the caption; columns: {schema.names[:20]}",
    )
