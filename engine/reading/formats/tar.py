"""Read untrusted tar shards strictly: find the bytes of each member, or refuse the archive.

An archive that is truncated, sparse, linked, compressed or continued after its end is an error, never a shorter list.
Nothing is unpacked and no name is used as a path. Formats: v7, ustar, pax and GNU long names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from schemas.errors import ShardDamagedError

# Details are stored in the failures of snapshots, so their texts must not change.
BLOCK = 512
MAX_ARCHIVE_BYTES = 8 * 2**30
MAX_MEMBERS = 200_000
MAX_HEADER_BYTES = 2**20  # of a pax record or long name, which is read into memory
MAX_NAME_BYTES = 16_384
MAX_PADDING_BYTES = 2**20  # tar pads to its record size: 10 KiB, or the value of --blocking-factor
MAX_NAMES_BYTES = 64 * 2**20  # of all members together: a global pax header names each member for 512 bytes
MAX_HEADERS = 4 * MAX_MEMBERS

_ZEROS = bytes(BLOCK)
_CHUNK = 4 * 2**20
_REGULAR = b"\x0007"  # NUL, "0" and "7"
_SPARSE = ("GNU.sparse", "SUN.holesdata")
_PAX_HEAD = re.compile(rb"([0-9]{1,7}) ([^=\n]{1,4096})=")
_FOREIGN = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"PAR1", "a Parquet file"),
    (b"version https://git-lfs", "a git-lfs pointer"),
    (b"<", "a web page"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of the archive: `size_bytes` bytes starting at `offset`."""

    name: str
    offset: int
    size_bytes: int


def read_members(path: Path) -> list[Member]:
    """Return every regular file of the archive, in order; folders have no data and are skipped.

    raises: ShardDamagedError SHARD_TRUNCATED, SHARD_FORMAT or SHARD_LIMIT, with the byte of the problem
    """
    total = os.path.getsize(path)
    if total > MAX_ARCHIVE_BYTES:
        _fail("SHARD_LIMIT", total, f"{total} bytes, at most {MAX_ARCHIVE_BYTES}")
    with open(path, "rb") as file:
        return _Scanner(file, total).scan()


class _Scanner:
    """Reads all headers once. Long names and pax records are kept for the member that they describe."""

    def __init__(self, file: BinaryIO, total: int) -> None:
        self._file = file
        self._total = total
        self._position = 0
        self._headers = self._names_bytes = 0
        self._found: list[Member] = []
        self._next_fields: dict[str, bytes] = {}
        self._global_fields: dict[str, bytes] = {}

    def scan(self) -> list[Member]:
        while (header := self._read_block()) != _ZEROS:
            self._read_entry(header)
        if self._read_block() != _ZEROS:
            _fail("SHARD_FORMAT", self._position, "one zero block alone inside the archive")
        if self._next_fields:
            _fail("SHARD_TRUNCATED", self._position, "the archive ends after an extended header")
        self._check_rest_is_zero()
        return self._found

    def _read_block(self) -> bytes:
        self._file.seek(self._position)
        block = self._file.read(BLOCK)
        if len(block) < BLOCK:
            if self._position == 0 and block:
                _check_header(block, 0)
            _fail("SHARD_TRUNCATED", self._position, "the archive ends without its two zero blocks")
        self._position += BLOCK
        return block

    def _read_entry(self, header: bytes) -> None:
        start = self._position - BLOCK
        _check_header(header, start)
        self._headers += 1
        if self._headers > MAX_HEADERS:
            _fail("SHARD_LIMIT", start, f"more than {MAX_HEADERS} headers")
        kind, size = header[156:157], _number(header[124:136], start)
        if kind in b"xgLK":
            self._read_extended(kind, size, start)
            return
        fields, self._next_fields = self._global_fields | self._next_fields, {}
        if any(name.startswith(_SPARSE) for name in fields):
            _fail("SHARD_FORMAT", start, "a sparse member")
        if "size" in fields:
            size = _decimal(fields["size"], start)
        if kind == b"5":
            return
        if kind not in _REGULAR:
            what = {b"1": "a hard link", b"2": "a symbolic link", b"S": "a sparse member"}.get(
                kind, "no file"
            )
            _fail("SHARD_FORMAT", start, f"member of type {kind!r} is {what}; only files are read")
        name = _name(header, fields, start)
        if name.endswith("/") and size == 0:  # a folder in v7 archives
            return
        self._skip(size, start, name)
        self._found.append(Member(name, start + BLOCK, size))
        self._names_bytes += len(name)
        if len(self._found) > MAX_MEMBERS:
            _fail("SHARD_LIMIT", start, f"more than {MAX_MEMBERS} members")
        if self._names_bytes > MAX_NAMES_BYTES:
            _fail("SHARD_LIMIT", start, f"names of more than {MAX_NAMES_BYTES} characters together")

    def _read_extended(self, kind: bytes, size: int, start: int) -> None:
        if size > MAX_HEADER_BYTES:
            _fail("SHARD_LIMIT", start, f"an extended header of {size} bytes, at most {MAX_HEADER_BYTES}")
        self._skip(size, start, "extended header")
        self._file.seek(start + BLOCK)
        body = self._file.read(size)
        if kind == b"L":
            self._next_fields["path"] = body.rstrip(b"\0")
        elif kind == b"x":
            self._next_fields |= _pax_records(body, start)
        elif kind == b"g":
            self._global_fields |= _pax_records(body, start)

    def _skip(self, size: int, start: int, name: str) -> None:
        end = self._position + size
        if end > self._total:
            _fail(
                "SHARD_TRUNCATED",
                start,
                f"{name[:80]!r} has {size} bytes, {self._total - self._position} are left",
            )
        self._position += -(-size // BLOCK) * BLOCK

    def _check_rest_is_zero(self) -> None:
        """Check that only a little padding follows the trailer.

        Other data is a second archive or damage, which would be lost silently. Many zeros are damage too: a file whose
        size was set before its content was written ends like that.
        """
        if self._total - self._position > MAX_PADDING_BYTES:
            _fail(
                "SHARD_TRUNCATED",
                self._position,
                f"{self._total - self._position} bytes follow the end of the archive, at most {MAX_PADDING_BYTES} of "
                "zeros are padding; was the file written to its end?",
            )
        self._file.seek(self._position)
        while chunk := self._file.read(_CHUNK):
            if chunk.count(0) != len(chunk):
                _fail("SHARD_FORMAT", self._position, "data after the end of the archive (concatenated?)")


def _check_header(header: bytes, start: int) -> None:
    stored = re.fullmatch(rb"[ \0]*([0-7]{1,8})[ \0]*", header[148:156])
    without_sum = header[:148] + b" " * 8 + header[156:]
    if stored is not None:
        expected = int(stored.group(1), 8)
        if sum(without_sum) == expected or _signed_sum(without_sum) == expected:
            return
    for magic, what in _FOREIGN:
        if start == 0 and header.lstrip().startswith(magic):
            _fail("SHARD_FORMAT", start, f"not a tar file but {what}; shards are uncompressed tar")
    _fail("SHARD_FORMAT", start, "no tar header here (its checksum does not match)")


def _signed_sum(header: bytes) -> int:
    """Return the checksum over signed bytes, as some old writers computed it."""
    return sum(header) - 256 * sum(byte > 127 for byte in header)


def _number(field: bytes, start: int) -> int:
    if field[0] & 0x80:  # GNU base-256; a set sign bit means a negative size
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40 or value > MAX_ARCHIVE_BYTES * 2**10:
            _fail("SHARD_FORMAT", start, "a member size that is negative or absurd")
        return value
    octal = re.fullmatch(rb"[ \0]*([0-7]*)[ \0]*", field)
    if octal is None:
        _fail("SHARD_FORMAT", start, f"member size {field!r} is not octal")
    return int(octal.group(1) or b"0", 8)


def _decimal(value: bytes, start: int) -> int:
    if not re.fullmatch(rb"[0-9]{1,15}", value):
        _fail("SHARD_FORMAT", start, f"pax size {value[:20]!r} is not a number")
    return int(value)


def _pax_records(body: bytes, start: int) -> dict[str, bytes]:
    """Parse the relevant `length keyword=value\\n` records. An empty value deletes a keyword, so it is absent."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(body) and body[at]:
        head = _PAX_HEAD.match(body, at)
        end = at + int(head.group(1)) if head else 0
        if head is None or end > len(body) or end <= head.end() or body[end - 1 : end] != b"\n":
            _fail("SHARD_FORMAT", start, "a malformed pax record")
        keyword = head.group(2).decode("utf-8", "backslashreplace")
        if keyword in ("path", "size") or keyword.startswith(_SPARSE):
            records[keyword] = body[head.end() : end - 1]
        at = end
    if body.count(0, at) != len(body) - at:
        _fail("SHARD_FORMAT", start, "bytes after the last pax record")
    return {name: value for name, value in records.items() if value}


def _name(header: bytes, fields: dict[str, bytes], start: int) -> str:
    raw = fields.get("path")
    if raw is None:
        raw = header[:100].split(b"\0", 1)[0]
        # only ustar has a prefix; GNU and star store times in those bytes
        prefix = header[345:500].split(b"\0", 1)[0] if header[257:265] == b"ustar\x0000" else b""
        raw = prefix + b"/" + raw if prefix else raw
    if len(raw) > MAX_NAME_BYTES:
        _fail("SHARD_LIMIT", start, f"a member name of {len(raw)} bytes, at most {MAX_NAME_BYTES}")
    return raw.decode("utf-8", "backslashreplace")


def _fail(code: str, position: int, detail: str) -> NoReturn:
    raise ShardDamagedError(code, f"at byte {position}: {detail}")
