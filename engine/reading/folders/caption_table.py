"""Read the captions of a folder from one CSV, TSV or JSONL file with a row per image.

A row that cannot be used is kept with its reason, so that no image loses its caption silently. A file that cannot be
read as a table is an error of the folder.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO, StringIO

from pydantic import JsonValue

from engine.reading.formats.parquet import KNOWN_COLUMNS
from engine.reading.strict_json import load_object
from engine.settings import ReadingSettings
from schemas.errors import SampleRejectedError, ShardDamagedError

# Details are stored in the failures of snapshots and in rows of rejected samples, so their texts must not change.
MAX_TABLE_BYTES = 256 * 2**20
MAX_ROWS = 500_000
ROW_BAD = "ROW_BAD"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: its line in the file, and the fields that the job reads, or why it cannot be used."""

    line: int
    fields: Mapping[str, JsonValue] = field(default_factory=dict)
    rejected: SampleRejectedError | None = None


@dataclass(frozen=True)
class CaptionTable:
    """The rows by the name of their image, and those that name none."""

    caption_column: str
    by_name: Mapping[str, list[TableRow]]
    nameless: list[TableRow]


def read_table(data: bytes, name: str, where: str, reading: ReadingSettings) -> CaptionTable:
    """Read a table. Raises ShardDamagedError SHARD_FORMAT, SHARD_LIMIT or SHARD_SCHEMA.

    name:  of the file, whose suffix is its format
    where: the file's URL, for messages
    """
    if len(data) > MAX_TABLE_BYTES:
        raise ShardDamagedError("SHARD_LIMIT", f"{where}: {len(data)} bytes, at most {MAX_TABLE_BYTES}")
    data = data.removeprefix(_BOM)
    columns: list[str] | None = None
    if name.lower().endswith(".jsonl"):
        rows = _read_json_lines(data)
    else:
        lines = _read_cells(_decode(data, where), "\t" if name.lower().endswith(".tsv") else ",", where)
        columns = _check_header(next(lines, (1, []))[1], where)
        rows = _read_rows(lines, columns)
    caption = _caption_column(columns, reading, where)
    kept = {reading.file_name, caption, reading.spans, *reading.keep, *KNOWN_COLUMNS}
    return _group(rows, caption, kept, where, reading.file_name)


def normalize_name(name: str) -> str:
    """Return the form in which names are compared: some systems write an accent as a character of its own."""
    return unicodedata.normalize("NFC", name.removeprefix("./"))


def _group(
    rows: Iterator[TableRow], caption: str, kept: Collection[str | None], where: str, file_name: str
) -> CaptionTable:
    by_name: dict[str, list[TableRow]] = {}
    nameless: list[TableRow] = []
    for count, row in enumerate(rows, start=1):
        if count > MAX_ROWS:
            raise ShardDamagedError("SHARD_LIMIT", f"{where}: more than {MAX_ROWS} rows; split the folder")
        name = row.fields.get(file_name)
        fields = {column: value for column, value in row.fields.items() if column in kept}
        if not isinstance(name, str) or not name.strip():
            why = row.rejected or SampleRejectedError(
                ROW_BAD, f"line {row.line} has no text in column {file_name!r}"
            )
            nameless.append(TableRow(row.line, fields, why))
            continue
        by_name.setdefault(normalize_name(name), []).append(TableRow(row.line, fields, row.rejected))
    return CaptionTable(caption, by_name, nameless)


def _caption_column(columns: list[str] | None, reading: ReadingSettings, where: str) -> str:
    """Return the column of captions: the named one, and `caption` in place of the default `txt`."""
    names = (reading.caption, "caption") if reading.caption == "txt" else (reading.caption,)
    if columns is None:
        return names[-1]
    caption = next((name for name in names if name in columns), None)
    wanted = {
        "input.caption": (caption, names[-1]),
        "input.file_name": (reading.file_name, reading.file_name),
    }
    for setting, (name, expected) in wanted.items():
        if name not in columns:
            raise ShardDamagedError(
                "SHARD_SCHEMA", f"{where}: no column {expected!r} for {setting}; columns: {columns[:20]}"
            )
    assert caption is not None
    return caption


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ShardDamagedError(
            "SHARD_FORMAT", f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def _read_cells(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line and the cells of each row, the header included."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise ShardDamagedError(
            "SHARD_FORMAT", f"{where}: line {reader.line_num}: {error}; is a quote missing?"
        ) from error


def _check_header(columns: list[str], where: str) -> list[str]:
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise ShardDamagedError("SHARD_SCHEMA", f"{where}: two columns are called {twice!r}")
    return columns


def _read_rows(lines: Iterator[tuple[int, list[str]]], columns: list[str]) -> Iterator[TableRow]:
    for line, cells in lines:
        if not cells:  # a blank line
            continue
        rejected = None
        if len(cells) != len(columns):
            rejected = SampleRejectedError(
                ROW_BAD,
                f"line {line}: {len(cells)} cells, the header has {len(columns)}; quote text that has commas",
            )
        yield TableRow(line, dict(zip(columns, cells, strict=False)), rejected)


def _read_json_lines(data: bytes) -> Iterator[TableRow]:
    for number, line in enumerate(BytesIO(data), start=1):
        if not line.strip():
            continue
        try:
            yield TableRow(number, load_object(line))
        except SampleRejectedError as rejected:
            yield TableRow(
                number, rejected=SampleRejectedError(rejected.code, f"line {number}: {rejected.detail}")
            )
