"""A folder of images as a shard: its samples in the order of their names.

Each image file is a sample, and its key is the whole name of the file, so `a.jpg` and `a.png` are two samples. A
caption without its image is a sample, too: it is rejected as IMG_MISSING, so that it is counted. Files that are neither
an image nor a caption by their suffix are ignored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from engine.reading.captions import MAX_BYTES as MAX_CAPTION_BYTES
from engine.reading.captions import StoredCaption, clean_caption, decode_caption
from engine.reading.folders.caption_table import (
    MAX_TABLE_BYTES,
    CaptionTable,
    TableRow,
    normalize_name,
    read_table,
)
from engine.reading.folders.discovery import suffix_of
from engine.reading.folders.listing import (
    FolderFile,
    FolderListing,
    escape_name,
    is_url_name,
    read_file,
)
from engine.reading.given_spans import CODE as SPANS_BAD
from engine.reading.given_spans import parse_spans
from engine.reading.raw_samples import RawSample, collect_meta, parse_source
from engine.reading.shards import MAX_MEMBER_BYTES
from engine.settings import ReadingSettings, StorageSettings
from engine.threads import map_ordered
from schemas.digests import canonical_json, digest_of, sha256_hex
from schemas.errors import SampleRejectedError, ShardDamagedError
from schemas.labeler import Spans
from schemas.records import Pixels
from schemas.spans import join_phrases

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
NAME_BAD = "KEY_BAD"
_REMOTE_THREADS, _LOCAL_THREADS = 8, 2
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class FolderSample:
    """A name with its image, its text files, and its rows of the folder's table."""

    name: str
    image: FolderFile | None = None
    texts: list[FolderFile] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)


class FolderShard:
    """The images of one folder, without those of the folders inside it."""

    def __init__(
        self,
        url: str,
        listing: FolderListing,
        reading: ReadingSettings,
        storage: StorageSettings | None = None,
    ) -> None:
        """Read the table of captions, if there is one.

        url:    of the folder in the job, which the rows name
        raises: ShardDamagedError if the table cannot be used or changed since the listing
        """
        self._url, self._reading, self._storage = url.rstrip("/"), reading, storage
        self._fixed = join_phrases(reading.phrases) if reading.phrases else None
        self._table_file = next((file for file in listing.files if file.name == reading.captions), None)
        self._table_sha256: str | None = None
        self._table = self._read_table()
        self._samples = _group_files(listing, reading, self._table)
        is_remote = "://" in listing.url
        self._threads = _REMOTE_THREADS if is_remote else _LOCAL_THREADS

    def __len__(self) -> int:
        return len(self._samples)

    def samples(self, first: int, count: int) -> Iterator[RawSample]:
        """Yield the samples [first, first + count), without their images."""
        wanted = self._samples[first : first + count]
        texts = map_ordered(self._read_text, wanted, self._threads)
        for index, (sample, text) in enumerate(zip(wanted, texts, strict=True), first):
            key = escape_name(sample.name)
            try:
                yield self._read(index, sample, text)
            except SampleRejectedError as rejected:
                yield RawSample(index, key, rejected=rejected)

    def images(self, wanted: Sequence[RawSample]) -> Iterator[bytes]:
        """Yield the stored image bytes of samples in the order of their indices."""
        files = (self._samples[raw.index].image for raw in wanted)
        return map_ordered(self._read_image, files, self._threads)

    def sha256(self) -> str:
        """Return the sha256 of names and bytes of everything that is read, as 64 digits. Reads every file."""
        parts = map_ordered(self._hash_sample, self._samples, self._threads)
        return digest_of({"table": self._table_sha256, "samples": list(parts)}).removeprefix("sha256:")

    def _read_table(self) -> CaptionTable | None:
        file = self._table_file
        if self._reading.captions is None or file is None:
            return None
        where = f"{self._url}/{file.name}"
        if file.problem is not None:
            raise ShardDamagedError("SHARD_FORMAT", f"{where} is {file.problem}, expected a file")
        if file.size_bytes > MAX_TABLE_BYTES:
            raise ShardDamagedError(
                "SHARD_LIMIT", f"{where}: {file.size_bytes} bytes, at most {MAX_TABLE_BYTES}"
            )
        data = read_file(file, self._storage)
        self._table_sha256 = sha256_hex(data)
        return read_table(data, file.name, where, self._reading)

    def _read(self, index: int, sample: FolderSample, text: bytes | None) -> RawSample:
        if not is_url_name(sample.name):
            raise SampleRejectedError(
                NAME_BAD,
                f"the name {escape_name(sample.name)[:80]!r} has a control character, '::' or bytes that are not UTF-8",
            )
        image = self._check_image(sample)
        fields = self._fields(sample)
        caption, spans = self._caption(sample, text, fields)
        return RawSample(
            index,
            sample.name,
            Pixels(url=f"{self._url}/{image.name}"),
            caption.text,
            parse_source(fields),
            collect_meta(fields, self._reading.keep, caption),
            spans=spans,
        )

    def _check_image(self, sample: FolderSample) -> FolderFile:
        image = sample.image
        if image is None:
            if rejected := next((row.rejected for row in sample.rows if row.rejected is not None), None):
                raise rejected
            raise SampleRejectedError(
                "IMG_MISSING", f"a caption for {sample.name[:80]!r}, but no image of this name in the folder"
            )
        if image.problem is not None:
            raise SampleRejectedError("IMG_MISSING", f"{image.name[:80]!r} is {image.problem}")
        if image.size_bytes > MAX_MEMBER_BYTES:
            raise SampleRejectedError(
                "MEMBER_LARGE", f"{image.name[:80]!r}: {image.size_bytes} bytes, at most {MAX_MEMBER_BYTES}"
            )
        return image

    def _fields(self, sample: FolderSample) -> dict[str, JsonValue]:
        """Return the fields of the sample's row; none without a table."""
        if len(sample.rows) > 1:
            lines = ", ".join(str(row.line) for row in sample.rows[:8])
            raise SampleRejectedError(
                "DUP_MEMBER", f"{len(sample.rows)} rows name this image: {lines}; keep one"
            )
        row = next(iter(sample.rows), None)
        if row is not None and row.rejected is not None:
            raise row.rejected
        return {} if row is None else dict(row.fields)

    def _caption(
        self, sample: FolderSample, text: bytes | None, fields: dict[str, JsonValue]
    ) -> tuple[StoredCaption, Spans]:
        if self._fixed is not None:
            return StoredCaption(self._fixed[0]), self._fixed[1]
        if self._reading.captions is None:
            return self._text_caption(sample, text), ()
        if self._table is None or not sample.rows:
            what = "no row for it in" if self._table is not None else "the folder has no file"
            raise SampleRejectedError("CAP_MISSING", f"{what} {self._reading.captions!r}")
        value = fields.get(self._table.caption_column)
        if not isinstance(value, str):
            raise SampleRejectedError(
                "CAP_MISSING",
                f"column {self._table.caption_column!r} is {type(value).__name__}, expected text",
            )
        caption = clean_caption(value)
        return caption, self._spans(fields, caption)

    def _spans(self, fields: dict[str, JsonValue], caption: StoredCaption) -> Spans:
        name = self._reading.spans
        if name is None:
            return ()
        if name not in fields:
            raise SampleRejectedError(SPANS_BAD, f"no field {name!r}; write [] where none are given")
        return parse_spans(fields[name], caption)

    def _text_caption(self, sample: FolderSample, text: bytes | None) -> StoredCaption:
        wanted = self._reading.caption
        if not sample.texts:
            raise SampleRejectedError(
                "CAP_MISSING", f"no file {_stem(sample.name)[:80]!r} with suffix .{wanted}"
            )
        if len(sample.texts) > 1:
            raise SampleRejectedError("DUP_MEMBER", f"more than one .{wanted}")
        file = sample.texts[0]
        if file.problem is not None:
            raise SampleRejectedError("CAP_MISSING", f"{file.name[:80]!r} is {file.problem}")
        if text is None:
            raise SampleRejectedError(
                "CAP_LONG", f"{file.name[:80]!r}: {file.size_bytes} bytes, at most {MAX_CAPTION_BYTES}"
            )
        return decode_caption(text.removeprefix(_BOM).rstrip(b"\r\n"))

    def _read_text(self, sample: FolderSample) -> bytes | None:
        """Return the bytes of the one text file, None if there is none that may be read."""
        if len(sample.texts) != 1:
            return None
        file = sample.texts[0]
        is_readable = file.problem is None and file.size_bytes <= MAX_CAPTION_BYTES
        return read_file(file, self._storage) if is_readable else None

    def _read_image(self, file: FolderFile | None) -> bytes:
        assert file is not None, "a readable sample has its image"
        return read_file(file, self._storage)

    def _hash_sample(self, sample: FolderSample) -> JsonValue:
        """Return name, hash of the image and hashes of the text files. What is never read has its size or problem."""
        image = None if sample.image is None else self._hash(sample.image, MAX_MEMBER_BYTES)
        texts: list[JsonValue] = [self._hash(file, MAX_CAPTION_BYTES) for file in sample.texts]
        return [escape_name(sample.name), image, texts]

    def _hash(self, file: FolderFile, max_bytes: int) -> str:
        if file.problem is not None:
            return file.problem
        if file.size_bytes > max_bytes:
            return f"{file.size_bytes} bytes"
        return sha256_hex(read_file(file, self._storage))


def summarize_files(listing: FolderListing, reading: ReadingSettings) -> tuple[int, str]:
    """Return the bytes of the files that a shard reads, and a digest of their names, sizes and versions."""
    kept = [file for file in listing.files if _is_read(file, reading)]
    facts = [[escape_name(file.name), file.size_bytes, file.version, file.problem] for file in kept]
    return sum(file.size_bytes for file in kept), sha256_hex(canonical_json(facts))


def _is_read(file: FolderFile, reading: ReadingSettings) -> bool:
    if suffix_of(file.name) in reading.image or file.name == reading.captions:
        return True
    return _reads_texts(reading) and suffix_of(file.name) == reading.caption


def _reads_texts(reading: ReadingSettings) -> bool:
    return reading.captions is None and not reading.phrases


def _group_files(
    listing: FolderListing, reading: ReadingSettings, table: CaptionTable | None
) -> list[FolderSample]:
    """Return the samples of a folder in the order of their names."""
    samples = {
        file.name: FolderSample(file.name, image=file)
        for file in listing.files
        if suffix_of(file.name) in reading.image and file.name != reading.captions
    }
    if _reads_texts(reading):
        _add_texts(samples, listing, reading.caption)
    if table is not None:
        _add_rows(samples, table, str(reading.captions))
    return sorted(samples.values(), key=lambda sample: sample.name)


def _add_texts(samples: dict[str, FolderSample], listing: FolderListing, suffix: str) -> None:
    by_stem: dict[str, list[FolderSample]] = defaultdict(list)
    for sample in samples.values():
        by_stem[_stem(sample.name)].append(sample)
    for file in listing.files:
        if suffix_of(file.name) != suffix or file.name in samples:
            continue
        owners = by_stem.get(_stem(file.name))
        if owners is None:
            owners = [samples.setdefault(file.name, FolderSample(file.name))]
        for sample in owners:
            sample.texts.append(file)


def _add_rows(samples: dict[str, FolderSample], table: CaptionTable, table_name: str) -> None:
    names = {normalize_name(name): name for name in samples}
    for row_name, rows in table.by_name.items():
        name = names.get(row_name, row_name)
        samples.setdefault(name, FolderSample(name)).rows.extend(rows)
    for row in table.nameless:
        name = f"{table_name}:{row.line}"
        samples.setdefault(name, FolderSample(name)).rows.append(row)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
