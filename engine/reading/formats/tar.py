"""Tar shards from strangers, read strictly: where each member's bytes lie, or why the archive is refused.

Promise: an archive that was cut, sparse, linked, compressed or continued after its end is an error, never a shorter
list. Nothing is unpacked and no name is used as a path. Formats: v7, ustar, pax and GNU long names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from schemas.errors import ShardDamagedError

BLOCK = 512
MAX_ARCHIVE_BYTES = 8 * 2**30
MAX_MEMBERS = 200_000
MAX_HEADER_BYTES = 2**20  # a pax record or long name; they are read into memory
MAX_NAME_BYTES = 16_384
MAX_PADDING_BYTES = 2**20  # tar pads to its record size: 10 KiB, or what was asked for with --blocking-factor
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
    """A regular file of the archive: `size_bytes` bytes from `offset` on."""

    name: str
    offset: int
    size_bytes: int


def read_members(path: Path) -> list[Member]:
    """Every regular file of the archive, in order; folders hold no data and are passed over.

    raises: ShardDamagedError SHARD_TRUNCATED, SHARD_FORMAT or SHARD_LIMIT, with the byte where it was seen
    """
    total = os.path.getsize(path)
    if total > MAX_ARCHIVE_BYTES:
        _damaged("SHARD_LIMIT", total, f"{total} bytes, at most {MAX_ARCHIVE_BYTES}")
    with open(path, "rb") as file:
        return _Scan(file, total).members()


class _Scan:
    """One pass over the headers. Long names and pax records wait for the member that they describe."""

    def __init__(self, file: BinaryIO, total: int) -> None:
        self._file = file
        self._total = total
        self._position = 0
        self._headers = self._names_bytes = 0
        self._found: list[Member] = []
        self._next: dict[str, bytes] = {}
        self._always: dict[str, bytes] = {}

    def members(self) -> list[Member]:
        while (header := self._block()) != _ZEROS:
            self._entry(header)
        if self._block() != _ZEROS:
            _damaged("SHARD_FORMAT", self._position, "one zero block alone inside the archive")
        if self._next:
            _damaged("SHARD_TRUNCATED", self._position, "the archive ends after an extended header")
        self._check_rest_is_zero()
        return self._found

    def _block(self) -> bytes:
        self._file.seek(self._position)
        block = self._file.read(BLOCK)
        if len(block) < BLOCK:
            if self._position == 0 and block:
                _check_header(block, 0)
            _damaged("SHARD_TRUNCATED", self._position, "the archive ends without its two zero blocks")
        self._position += BLOCK
        return block

    def _entry(self, header: bytes) -> None:
        start = self._position - BLOCK
        _check_header(header, start)
        self._headers += 1
        if self._headers > MAX_HEADERS:
            _damaged("SHARD_LIMIT", start, f"more than {MAX_HEADERS} headers")
        kind, size = header[156:157], _number(header[124:136], start)
        if kind in b"xgLK":
            self._extended(kind, size, start)
            return
        fields, self._next = self._always | self._next, {}
        if any(name.startswith(_SPARSE) for name in fields):
            _damaged("SHARD_FORMAT", start, "a sparse member")
        if "size" in fields:
            size = _decimal(fields["size"], start)
        if kind == b"5":
            return
        if kind not in _REGULAR:
            what = {b"1": "a hard link", b"2": "a symbolic link", b"S": "a sparse member"}.get(
                kind, "no file"
            )
            _damaged("SHARD_FORMAT", start, f"member of type {kind!r} is {what}; only files are read")
        name = _name(header, fields, start)
        if name.endswith("/") and size == 0:  # how v7 archives spell a folder
            return
        self._skip(size, start, name)
        self._found.append(Member(name, start + BLOCK, size))
        self._names_bytes += len(name)
        if len(self._found) > MAX_MEMBERS:
            _damaged("SHARD_LIMIT", start, f"more than {MAX_MEMBERS} members")
        if self._names_bytes > MAX_NAMES_BYTES:
            _damaged("SHARD_LIMIT", start, f"names of more than {MAX_NAMES_BYTES} characters together")

    def _extended(self, kind: bytes, size: int, start: int) -> None:
        if size > MAX_HEADER_BYTES:
            _damaged("SHARD_LIMIT", start, f"an extended header of {size} bytes, at most {MAX_HEADER_BYTES}")
        self._skip(size, start, "extended header")
        self._file.seek(start + BLOCK)
        body = self._file.read(size)
        if kind == b"L":
            self._next["path"] = body.rstrip(b"\0")
        elif kind == b"x":
            self._next |= _pax_records(body, start)
        elif kind == b"g":
            self._always |= _pax_records(body, start)

    def _skip(self, size: int, start: int, name: str) -> None:
        end = self._position + size
        if end > self._total:
            _damaged(
                "SHARD_TRUNCATED",
                start,
                f"{name[:80]!r} has {size} bytes, {self._total - self._position} are left",
            )
        self._position += -(-size // BLOCK) * BLOCK

    def _check_rest_is_zero(self) -> None:
        """Data after the trailer is a second archive or damage: reading on past it would lose it in silence.

        So is a long stretch of zeros: a file that was given its size before its content arrived ends like that.
        """
        if self._total - self._position > MAX_PADDING_BYTES:
            _damaged(
                "SHARD_TRUNCATED",
                self._position,
                f"{self._total - self._position} bytes follow the end of the archive, at most {MAX_PADDING_BYTES} of "
                "zeros are padding; was the file written to its end?",
            )
        self._file.seek(self._position)
        while chunk := self._file.read(_CHUNK):
            if chunk.count(0) != len(chunk):
                _damaged("SHARD_FORMAT", self._position, "data after the end of the archive (concatenated?)")


def _check_header(header: bytes, start: int) -> None:
    stored = re.fullmatch(rb"[ \0]*([0-7]{1,8})[ \0]*", header[148:156])
    blanked = header[:148] + b" " * 8 + header[156:]
    if stored is not None:
        expected = int(stored.group(1), 8)
        if sum(blanked) == expected or _signed_sum(blanked) == expected:
            return
    for magic, what in _FOREIGN:
        if start == 0 and header.lstrip().startswith(magic):
            _damaged("SHARD_FORMAT", start, f"not a tar file but {what}; shards are uncompressed tar")
    _damaged("SHARD_FORMAT", start, "no tar header here (its checksum does not match)")


def _signed_sum(header: bytes) -> int:
    """The checksum as some old writers made it: over signed bytes."""
    return sum(header) - 256 * sum(byte > 127 for byte in header)


def _number(field: bytes, start: int) -> int:
    if field[0] & 0x80:  # GNU base-256; a set sign bit would be a negative size
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40 or value > MAX_ARCHIVE_BYTES * 2**10:
            _damaged("SHARD_FORMAT", start, "a member size that is negative or absurd")
        return value
    octal = re.fullmatch(rb"[ \0]*([0-7]*)[ \0]*", field)
    if octal is None:
        _damaged("SHARD_FORMAT", start, f"member size {field!r} is not octal")
    return int(octal.group(1) or b"0", 8)


def _decimal(value: bytes, start: int) -> int:
    if not re.fullmatch(rb"[0-9]{1,15}", value):
        _damaged("SHARD_FORMAT", start, f"pax size {value[:20]!r} is not a number")
    return int(value)


def _pax_records(body: bytes, start: int) -> dict[str, bytes]:
    """The `length keyword=value\\n` records that matter here. An empty value deletes a keyword: it is absent then."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(body) and body[at]:
        head = _PAX_HEAD.match(body, at)
        end = at + int(head.group(1)) if head else 0
        if head is None or end > len(body) or end <= head.end() or body[end - 1 : end] != b"\n":
            _damaged("SHARD_FORMAT", start, "a malformed pax record")
        keyword = head.group(2).decode("utf-8", "backslashreplace")
        if keyword in ("path", "size") or keyword.startswith(_SPARSE):
            records[keyword] = body[head.end() : end - 1]
        at = end
    if body.count(0, at) != len(body) - at:
        _damaged("SHARD_FORMAT", start, "bytes after the last pax record")
    return {name: value for name, value in records.items() if value}


def _name(header: bytes, fields: dict[str, bytes], start: int) -> str:
    raw = fields.get("path")
    if raw is None:
        raw = header[:100].split(b"\0", 1)[0]
        # a prefix exists in ustar only; GNU and star keep times in those bytes
        prefix = header[345:500].split(b"\0", 1)[0] if header[257:265] == b"ustar\x0000" else b""
        raw = prefix + b"/" + raw if prefix else raw
    if len(raw) > MAX_NAME_BYTES:
        _damaged("SHARD_LIMIT", start, f"a member name of {len(raw)} bytes, at most {MAX_NAME_BYTES}")
    return raw.decode("utf-8", "backslashreplace")


def _damaged(code: str, position: int, detail: str) -> NoReturn:
    raise ShardDamagedError(code, f"at byte {position}: {detail}")
