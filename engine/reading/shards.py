"""A shard as a list of samples: one interface for tar, Parquet and folders of images, and the first two kinds.

`samples` returns one RawSample for each index, in order, also for samples that are rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from pydantic import JsonValue

from engine.reading.captions import MAX_BYTES as MAX_CAPTION_BYTES
from engine.reading.captions import StoredCaption, clean_caption, decode_caption
from engine.reading.formats.parquet import ParquetTable, image_bytes
from engine.reading.formats.parquet_columns import Cell
from engine.reading.formats.tar import Member, read_members
from engine.reading.formats.tar_grouping import TarSample, group_members
from engine.reading.given_spans import CODE as SPANS_BAD
from engine.reading.given_spans import parse_spans
from engine.reading.raw_samples import RawSample, collect_meta, parse_source
from engine.reading.strict_json import MAX_BYTES as MAX_JSON_BYTES
from engine.reading.strict_json import load_object
from engine.settings import ReadingSettings
from schemas.errors import SampleRejectedError, ShardDamagedError
from schemas.labeler import Spans
from schemas.ledger import KeyForm
from schemas.records import Pixels

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
MAX_MEMBER_BYTES = 64 * 2**20
READER_VERSION = "2"
"""Part of every fingerprint; must be increased if the same bytes are read differently."""


class Shard(Protocol):
    """An open shard."""

    def __len__(self) -> int:
        """Return the number of samples in the shard."""
        ...

    def samples(self, first: int, count: int) -> Iterator[RawSample]:
        """Yield the samples [first, first + count), without their images."""
        ...

    def images(self, wanted: Sequence[RawSample]) -> Iterator[bytes]:
        """Yield the stored image bytes of samples in the order of their indices."""
        ...


def open_shard(path: Path, url: str, reading: ReadingSettings) -> Shard:
    """Open a local copy of the shard at `url` and check it to its end. Raises ShardDamagedError."""
    return (
        TarShard(path, url, reading) if reading.format == "webdataset" else ParquetShard(path, url, reading)
    )


class TarShard:
    """An uncompressed tar in WebDataset layout."""

    def __init__(self, path: Path, url: str, reading: ReadingSettings) -> None:
        self._path, self._url, self._reading = path, url, reading
        try:
            self._samples = group_members(read_members(path))
        except ShardDamagedError as damage:
            raise ShardDamagedError(damage.code, f"{url}: {damage.detail}") from damage

    def __len__(self) -> int:
        return len(self._samples)

    def samples(self, first: int, count: int) -> Iterator[RawSample]:
        """Yield the samples [first, first + count), without their images."""
        for index in range(first, min(first + count, len(self))):
            sample = self._samples[index]
            try:
                yield self._read(index, sample)
            except SampleRejectedError as rejected:
                yield RawSample(index, sample.key, rejected=rejected)

    def images(self, wanted: Sequence[RawSample]) -> Iterator[bytes]:
        """Yield the stored image bytes of samples in the order of their indices."""
        with open(self._path, "rb") as file:
            for raw in wanted:
                assert raw.pixels is not None and raw.pixels.offset is not None
                file.seek(raw.pixels.offset)
                yield file.read(raw.pixels.length or 0)

    def _read(self, index: int, sample: TarSample) -> RawSample:
        image = self._image_member(sample)
        fields = self._fields(sample)
        caption = self._caption(sample, fields)
        return RawSample(
            index,
            sample.key,
            Pixels(url=self._url, offset=image.offset, length=image.size_bytes),
            caption.text,
            parse_source(fields),
            collect_meta(fields, self._reading.keep, caption),
            spans=_spans(fields, self._reading.spans, caption),
        )

    def _image_member(self, sample: TarSample) -> Member:
        if sample.is_stray:
            raise SampleRejectedError("IMG_MISSING", f"member {sample.key[:80]!r} has no key or no extension")
        if sample.duplicates:
            raise SampleRejectedError("DUP_MEMBER", f"more than one .{sample.duplicates[0]}")
        for suffix in self._reading.image:
            if suffix in sample.members:
                return _check_size(sample.members[suffix])
        raise SampleRejectedError(
            "IMG_MISSING", f"members: {sorted(sample.members)[:8]}, wanted {self._reading.image}"
        )

    def _fields(self, sample: TarSample) -> dict[str, JsonValue]:
        member = sample.members.get("json")
        return {} if member is None else load_object(self._bytes(member, MAX_JSON_BYTES, "JSON_BAD"))

    def _caption(self, sample: TarSample, fields: Mapping[str, JsonValue]) -> StoredCaption:
        wanted = self._reading.caption
        if wanted.startswith("json:"):
            return _caption_field(fields, wanted.removeprefix("json:"))
        member = sample.members.get(wanted)
        if member is None:
            raise SampleRejectedError(
                "CAP_MISSING", f"members: {sorted(sample.members)[:8]}, wanted .{wanted}"
            )
        return decode_caption(self._bytes(member, MAX_CAPTION_BYTES, "CAP_LONG"))

    def _bytes(self, member: Member, max_bytes: int, code: str) -> bytes:
        if member.size_bytes > max_bytes:
            raise SampleRejectedError(
                code, f"{member.name[:80]!r}: {member.size_bytes} bytes, at most {max_bytes}"
            )
        with open(self._path, "rb") as file:
            file.seek(member.offset)
            return file.read(member.size_bytes)


class ParquetShard:
    """A Parquet file with one sample per row."""

    def __init__(self, path: Path, url: str, reading: ReadingSettings) -> None:
        self._table = ParquetTable(path, url, reading)
        self._url, self._reading = url, reading

    def __len__(self) -> int:
        return self._table.rows

    def samples(self, first: int, count: int) -> Iterator[RawSample]:
        """Yield the samples [first, first + count), without their images."""
        for index, (group, row, values, found) in enumerate(self._table.read(first, count, False), first):
            if isinstance(found, SampleRejectedError):
                yield RawSample(index, "", rejected=found)
                continue
            key = str(index) if found is None else found
            try:
                fields = {name: _decode_text(value) for name, value in values.items()}
                column = self._table.image_column
                pixels = Pixels(url=self._url, row_group=group, row=row, column=column)
                yield self._read(index, key, pixels, values, fields)
            except SampleRejectedError as rejected:
                yield RawSample(index, key, rejected=rejected)

    def key_form(self) -> KeyForm:
        """Return whether version 2 of the reader read the same keys (see ParquetTable)."""
        return self._table.key_form()

    def images(self, wanted: Sequence[RawSample]) -> Iterator[bytes]:
        """Yield the stored image bytes of samples in the order of their indices."""
        if not wanted:
            return
        first, last = wanted[0].index, wanted[-1].index
        indices = {raw.index for raw in wanted}
        rows = self._table.read(first, last - first + 1, images=True)
        for index, row in enumerate(rows, first):
            if index in indices:
                yield image_bytes(row.values[self._table.image_column]) or b""

    def _read(
        self,
        index: int,
        key: str,
        pixels: Pixels,
        values: Mapping[str, Cell],
        fields: Mapping[str, JsonValue],
    ) -> RawSample:
        stored = values[self._table.caption_column]
        if not isinstance(stored, bytes):
            raise SampleRejectedError("CAP_MISSING", f"column {self._table.caption_column!r} is null")
        caption = decode_caption(stored)
        meta = collect_meta(fields, self._reading.keep, caption)
        spans = _spans(fields, self._reading.spans, caption)
        return RawSample(index, key, pixels, caption.text, parse_source(fields), meta, spans=spans)


def _check_size(member: Member) -> Member:
    if member.size_bytes > MAX_MEMBER_BYTES:
        raise SampleRejectedError(
            "MEMBER_LARGE", f"{member.name[:80]!r}: {member.size_bytes} bytes, at most {MAX_MEMBER_BYTES}"
        )
    return member


def _caption_field(fields: Mapping[str, JsonValue], name: str) -> StoredCaption:
    value = fields.get(name)
    if not isinstance(value, str):
        raise SampleRejectedError(
            "CAP_MISSING", f"json field {name!r} is {type(value).__name__}, expected text"
        )
    return clean_caption(value)


def _spans(fields: Mapping[str, JsonValue], wanted: str | None, caption: StoredCaption) -> Spans:
    if wanted is None:
        return ()
    name = wanted.removeprefix("json:")
    if name not in fields:  # a missing column is an error of the whole shard
        raise SampleRejectedError(SPANS_BAD, f"no json field {name!r}; write [] where none are given")
    return parse_spans(fields[name], caption)


def _decode_text(value: Cell) -> JsonValue:
    """Decode a text cell, which arrives as bytes. Invalid UTF-8 counts as absent, except in the caption."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return cast(JsonValue, value)  # only text and images are bytes, and images are not read here
