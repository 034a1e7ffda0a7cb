"""Small or sparse archives that cause much work; all are read in one process, whose memory is measured."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.reading.formats import tar
from engine.reading.formats.tar import BLOCK, MAX_HEADER_BYTES, MAX_MEMBERS, read_members
from schemas.errors import ShardDamagedError
from tests.engine.reading.test_tar_reader import raw_header
from tests.engine.worlds import picture, tar_bytes
from tests.reading.memory import grown_mib

READERS = """
from engine.reading.shards import open_shard
from engine.reading.formats.tar import read_members
from engine.settings import InputSettings
from schemas.errors import ShardDamagedError
"""
TRAILER = bytes(2 * BLOCK)
ZEROS = bytes(64 * 2**20)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def base_256(size: int) -> bytes:
    return (size % 2**96 | 1 << 95).to_bytes(12, "big")


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def pax(body: bytes, kind: bytes = b"x") -> bytes:
    return raw_header(b"pax", octal(len(body)), kind) + block(body)


def record(keyword: bytes, value: bytes) -> bytes:
    for digits in range(1, 8):
        length = digits + 1 + len(keyword) + 1 + len(value) + 1
        if len(b"%d" % length) == digits:
            return b"%d %s=%s\n" % (length, keyword, value)
    raise ValueError("too long")


def member(name: bytes = b"a.jpg", size: int = 0) -> bytes:
    return raw_header(name, octal(size))


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip": (lambda: gzip.compress(ZEROS), "SHARD_FORMAT"),
    "xz": (lambda: lzma.compress(ZEROS, preset=1), "SHARD_FORMAT"),
    "bzip2": (lambda: bz2.compress(ZEROS, 1), "SHARD_FORMAT"),
    "an old GNU sparse member of a terabyte": (
        lambda: raw_header(b"a.jpg", octal(0), b"S") + TRAILER,
        "SHARD_FORMAT",
    ),
    "a pax sparse member of a terabyte": (
        lambda: pax(record(b"GNU.sparse.realsize", b"%d" % 2**40)) + member() + TRAILER,
        "SHARD_FORMAT",
    ),
    "a sparse member by a global header": (
        lambda: pax(record(b"GNU.sparse.size", b"%d" % 2**40), b"g") + member() + TRAILER,
        "SHARD_FORMAT",
    ),
    "an octal size of 8 GB": (lambda: member(size=8**11 - 1) + TRAILER, "SHARD_TRUNCATED"),
    "a size of 2^90": (lambda: raw_header(size=base_256(2**90)) + TRAILER, "SHARD_FORMAT"),
    "a negative size": (lambda: raw_header(size=base_256(-512)) + TRAILER, "SHARD_FORMAT"),
    "a pax size that is negative": (
        lambda: pax(record(b"size", b"-512")) + member() + TRAILER,
        "SHARD_FORMAT",
    ),
    "a pax size of twenty digits": (
        lambda: pax(record(b"size", b"9" * 20)) + member() + TRAILER,
        "SHARD_FORMAT",
    ),
    "a pax size of 900 TB": (lambda: pax(record(b"size", b"9" * 15)) + member() + TRAILER, "SHARD_TRUNCATED"),
    "a pax header of 1 GB": (lambda: raw_header(b"pax", octal(2**30), b"x") + TRAILER, "SHARD_LIMIT"),
    "a long name of 2 MB": (
        lambda: raw_header(b"L", octal(2 * MAX_HEADER_BYTES), b"L") + bytes(2 * MAX_HEADER_BYTES) + TRAILER,
        "SHARD_LIMIT",
    ),
    "a name of 20 kB": (lambda: pax(record(b"path", b"n" * 20_000)) + member() + TRAILER, "SHARD_LIMIT"),
    "a long name for every member": (
        lambda: pax(record(b"path", b"n" * 16_000 + b".jpg"), b"g") + member() * 5_000 + TRAILER,
        "SHARD_LIMIT",
    ),
    "a million tiny pax records": (
        lambda: pax(record(b"a", b"b") * 170_000, b"g") * 4 + member() * 2_000 + TRAILER,
        "",
    ),
    "a pax record that says it is longer": (
        lambda: pax(b"999 path=a\n") + member() + TRAILER,
        "SHARD_FORMAT",
    ),
    "a pax record of no length": (lambda: pax(b"0 a=b\n") + member() + TRAILER, "SHARD_FORMAT"),
    "headers that describe nothing": (lambda: pax(record(b"path", b"b")) * 50 + TRAILER, "SHARD_TRUNCATED"),
    "a name that is not UTF-8": (lambda: member(b"\xff\xfe.jpg") + TRAILER, ""),
    "an empty archive with much padding": (lambda: bytes(2**20), ""),
    "nothing but zeros": (lambda: bytes(4 * 2**20), "SHARD_TRUNCATED"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_has_its_code(tmp_path: Path, name: str) -> None:
    make, code = BOMBS[name]
    path = tmp_path / "a.tar"
    path.write_bytes(make())

    if not code:
        read_members(path)
        return
    with pytest.raises(ShardDamagedError) as caught:
        read_members(path)
    assert caught.value.code == code, caught.value


def test_all_bombs_together_take_little_memory(tmp_path: Path) -> None:
    for number, (make, _) in enumerate(BOMBS.values()):
        (tmp_path / f"{number:02d}.tar").write_bytes(make())
    walk = f"""
for path in sorted(Path({str(tmp_path)!r}).glob("*.tar")):
    try:
        read_members(path)
    except ShardDamagedError:
        pass
"""

    assert grown_mib(READERS, walk) < 200


@pytest.mark.parametrize(("limit", "what"), [("MAX_MEMBERS", "members"), ("MAX_HEADERS", "headers")])
def test_the_number_of_members_and_headers_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, what: str
) -> None:
    kind = b"0" if limit == "MAX_MEMBERS" else b"5"
    path = tmp_path / "a.tar"
    path.write_bytes(raw_header(b"a.jpg", octal(0), kind) * 50 + TRAILER)
    read_members(path)
    monkeypatch.setattr(tar, limit, 49)

    with pytest.raises(ShardDamagedError, match=f"SHARD_LIMIT.*more than 49 {what}"):
        read_members(path)


@pytest.mark.slow
def test_two_hundred_thousand_members_and_one_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        for _ in range(MAX_MEMBERS // 1_000):
            file.write(member() * 1_000)
        file.write(member() + TRAILER)

    with pytest.raises(ShardDamagedError, match="SHARD_LIMIT"):
        read_members(path)


def test_a_shard_of_more_than_8_gib_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.touch()
    with open(path, "r+b") as file:
        file.truncate(tar.MAX_ARCHIVE_BYTES + 1)  # a hole, no bytes

    with pytest.raises(ShardDamagedError, match="SHARD_LIMIT"):
        read_members(path)


def test_members_too_large_cost_their_sample_and_are_not_read(tmp_path: Path) -> None:
    """Check sizes just above each limit, with a hole as content; a neighbor is read all the same."""
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        for name, size in (("a.jpg", 64 * 2**20 + 1), ("b.json", 10**9), ("c.txt", 10**9)):
            others = {"jpg": b"x", "json": b"{}", "txt": b"a cat"}
            key, suffix = name.split(".")
            del others[suffix]
            file.write(tar_bytes([(f"{key}.{end}", data) for end, data in others.items()]).rstrip(b"\0"))
            file.seek(-(-file.tell() // BLOCK) * BLOCK)
            file.write(member(name.encode(), size))
            file.seek(-(-(file.tell() + size) // BLOCK) * BLOCK)
        file.write(tar_bytes([("d.jpg", picture()), ("d.txt", b"a cat")]))
    walk = f"""
shard = open_shard(Path({str(path)!r}), "x", InputSettings(urls=("x",)).reading())
codes = [raw.rejected.code if raw.rejected else None for raw in shard.samples(0, 99)]
assert codes == ["MEMBER_LARGE", "JSON_BAD", "CAP_LONG", None], codes
"""

    assert grown_mib(READERS, walk) < 20
