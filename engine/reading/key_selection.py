"""Select the samples of a job by key, if it does not label everything.

The same selection has the same digest whatever file it came from. A sample that is not selected is counted as
NOT_SELECTED and never left out silently (docs/decisions/0004-a-subset-is-accounted-for.md).
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from engine.reading.formats.parquet_keys import CODE as KEY_BAD
from engine.reading.formats.parquet_keys import KINDS, is_key, key_texts
from engine.reading.raw_samples import RawSample
from engine.reading.shards import Shard
from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, open_filesystem, translate_store_errors
from engine.storage.safe_parquet import UnsafeFooterError, has_extension_type, read_footer
from schemas.digests import canonical_json, digest_of, sha256_hex, shorten_digest
from schemas.errors import ConfigError, ConflictError, NotFoundError, SampleRejectedError

MAX_KEYS = 5_000_000
MAX_FILE_BYTES = 2**30
CODE = "NOT_SELECTED"


@dataclass(frozen=True)
class Selection:
    """Keys to label, for all shards alike or shard by shard (absolute URLs)."""

    everywhere: frozenset[str] = frozenset()
    by_shard: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.everywhere) + sum(map(len, self.by_shard.values()))

    def keys_of(self, shard: str) -> frozenset[str]:
        """Return the selected keys of a shard."""
        return self.by_shard.get(shard, frozenset()) if self.by_shard else self.everywhere

    def may_include(self, shard: str) -> bool:
        """Return whether a shard may have selected samples. Without a shard column, only reading the shard decides."""
        return shard in self.by_shard if self.by_shard else True

    def digest_of(self, shard: str) -> str:
        """Return the digest of a shard's keys. It depends neither on other shards nor on the shard's position."""
        name = shard if self.by_shard else ""
        if name not in self._digests:
            self._digests[name] = digest_of(sorted(self.keys_of(shard)))
        return self._digests[name]

    def to_bytes(self) -> bytes:
        """Serialize the selection: a line of JSON for each key, or for each shard with its keys."""
        rows: Iterable[object] = sorted(self.everywhere)
        if self.by_shard:
            rows = ([shard, sorted(self.by_shard[shard])] for shard in sorted(self.by_shard))
        return b"".join(canonical_json(row) + b"\n" for row in rows)

    def digest(self) -> str:
        """Return `sha256:<hex>` of the serialized selection."""
        return "sha256:" + sha256_hex(self.to_bytes())


def selection_path(digest: str) -> str:
    """Return the path of a selection inside an output, where workers and later runs find it."""
    return f"selections/{shorten_digest(digest)}.jsonl"


def parse_selection(data: bytes, digest: str, where: str) -> Selection:
    """Parse a serialized selection. Raises ConflictError if it does not have the given digest."""
    if "sha256:" + sha256_hex(data) != digest:
        raise ConflictError(
            f"{where} is not the selection with digest {digest}; restore it, or set input.only to the original file"
        )
    rows = [json.loads(line) for line in data.splitlines()]
    if rows and isinstance(rows[0], list):
        return Selection(by_shard={shard: frozenset(keys) for shard, keys in rows})
    return Selection(everywhere=frozenset(rows))


def load_selection(url: str, shards: Sequence[str], storage: StorageSettings | None = None) -> Selection:
    """Load a selection from text with one key per line, or from Parquet with columns `key` and optionally `shard`.

    shards: the shards of the job; the column `shard` has their URLs, or a unique suffix of each
    raises: NotFoundError, and ConfigError for a file without keys, with too many keys, or with unknown shards
    """
    where = absolute_url(url)
    data = _read_file(where, storage)
    if not url.endswith(".parquet"):
        return _check_size(Selection(everywhere=frozenset(_split_lines(data, where))), where)
    table = _read_columns(data, where)
    keys = _parse_keys(table, where)
    if "shard" not in table.schema.names:
        return _check_size(Selection(everywhere=frozenset(keys)), where)
    named: dict[str, set[str]] = defaultdict(set)
    for shard, key in zip(_parse_texts(table, "shard", where), keys, strict=True):
        named[shard].add(key)
    whole = _ShardNames(shards, where)
    merged: dict[str, frozenset[str]] = {}
    for shard, chosen in named.items():
        merged[whole.find(shard)] = merged.get(whole.find(shard), frozenset()) | chosen
    return _check_size(Selection(by_shard=merged), where)


class SelectedShard:
    """A shard of which only some samples are selected; the others are rejected and keep their index.

    Whether a row without a key is selected is unknown, so it keeps its own code.
    """

    def __init__(self, shard: Shard, keys: frozenset[str]) -> None:
        self._shard, self._keys = shard, keys

    def __len__(self) -> int:
        return len(self._shard)

    def samples(self, first: int, count: int) -> Iterator[RawSample]:
        """Yield the samples; those that are not selected are rejected."""
        for raw in self._shard.samples(first, count):
            chosen = raw.key in self._keys or (raw.rejected is not None and raw.rejected.code == KEY_BAD)
            yield raw if chosen else RawSample(raw.index, raw.key, rejected=SampleRejectedError(CODE))

    def images(self, wanted: Sequence[RawSample]) -> Iterator[bytes]:
        """Yield the stored image bytes of samples in the order of their indices."""
        return self._shard.images(wanted)


class _ShardNames:
    """Finds shards by a suffix of their URL."""

    def __init__(self, shards: Sequence[str], where: str) -> None:
        self._whole, self._where = frozenset(shards), where
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for shard in shards:
            self._by_last[shard.rsplit("/", 1)[-1]].append(shard)

    def find(self, name: str) -> str:
        if name in self._whole:
            return name
        fit = [url for url in self._by_last.get(name.rsplit("/", 1)[-1], ()) if url.endswith("/" + name)]
        if len(fit) != 1:
            raise ConfigError(
                f"{self._where}: shard {name!r} matches {len(fit) or 'none'} of the job's {len(self._whole)} shards; "
                "write its full URL"
            )
        return fit[0]


def _read_file(where: str, storage: StorageSettings | None) -> bytes:
    filesystem, path = open_filesystem(where, storage)
    try:
        with translate_store_errors(where):
            if not filesystem.isfile(path):  # reading a device would not end
                raise FileNotFoundError(path)
            size = int(filesystem.size(path))
            if size > MAX_FILE_BYTES:
                raise ConfigError(
                    f"input.only: {where} has {size} bytes, at most {MAX_FILE_BYTES}; split the job by shards"
                )
            return bytes(filesystem.cat_file(path))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"input.only: {where} is not a file; expected a text file with one sample key per line"
        ) from error


def _split_lines(data: bytes, where: str) -> list[str]:
    try:
        lines = data.decode("utf-8").split("\n")  # a key may contain any other line separator
        return [line for raw in lines if (line := raw.removesuffix("\r"))]
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"input.only: {where} is not UTF-8 text (byte {error.start}) and not *.parquet; save it as UTF-8"
        ) from None


def _read_columns(data: bytes, where: str) -> pa.Table:
    try:
        if has_extension_type(read_footer(io.BytesIO(data))):
            raise ConfigError(f"input.only: {where} has an Arrow extension type; use plain text columns")
        file = pq.ParquetFile(pa.BufferReader(data))
        names = [name for name in ("key", "shard") if name in file.schema_arrow.names]
        if "key" not in names:
            raise ConfigError(
                f"input.only: {where} has no column `key`, only {file.schema_arrow.names[:20]}; rename the column of "
                "the keys to `key`"
            )
        return file.read(columns=names, use_threads=False)
    except (pa.ArrowException, OSError, UnsafeFooterError) as error:
        raise ConfigError(
            f"input.only: {where} is not a readable Parquet file ({error}); write it again, or give a text file with "
            "one key per line"
        ) from error


def _parse_keys(table: pa.Table, where: str) -> list[str]:
    """Return the column `key` as text, as keys of shards are read. Raises ConfigError for the first invalid row."""
    kind = table.schema.field("key").type
    if not is_key(kind):
        raise ConfigError(
            f"input.only: {where}: column 'key' is {kind}, expected {KINDS}; write keys as text"
        )
    keys: list[str] = []
    for chunk in table.column("key").chunks:
        for key in key_texts(chunk, "key", len(keys)):
            if isinstance(key, SampleRejectedError):
                raise ConfigError(f"input.only: {where}: {key.detail}")
            keys.append(key)
    return keys


def _parse_texts(table: pa.Table, name: str, where: str) -> list[str]:
    kind = table.schema.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)) or table.column(name).null_count:
        raise ConfigError(
            f"input.only: {where}: column {name!r} is {kind}, expected text without nulls; write full shard URLs, or "
            "leave the column out"
        )
    return [str(value) for value in table.column(name).to_pylist()]


def _check_size(selection: Selection, where: str) -> Selection:
    if not 0 < len(selection) <= MAX_KEYS:
        raise ConfigError(
            f"input.only: {where} has {len(selection)} keys, expected 1 to {MAX_KEYS}; split the job by shards"
        )
    return selection
