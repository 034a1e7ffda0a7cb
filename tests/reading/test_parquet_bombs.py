from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.reading.formats.parquet import MAX_ROWS
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from engine.storage.safe_parquet import MAX_FOOTER_BYTES
from schemas.errors import ShardDamagedError
from tests.engine.worlds import picture
from tests.reading.memory import grown_mib

ROWS = 5_000
BIG = 20 * 2**20


def file_of(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **({"store_schema": False} | options))
    return sink.getvalue()


def plain(rows: int = ROWS, **more: Any) -> bytes:
    return file_of({"jpg": [picture()] * rows, "caption": ["a red patch"] * rows, **more})


def varint(number: int) -> bytes:
    """Return Thrift's compact integer: zigzag, seven bits a byte."""
    left, out = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def lying(data: bytes, true: int, said: int, places: int | None = None) -> bytes:
    """Return the file with a number of its footer replaced, in the first `places` places or in all."""
    size = int.from_bytes(data[-8:-4], "little")
    body, footer = data[: -8 - size], data[-8 - size : -8]
    assert varint(true) in footer
    footer = footer.replace(varint(true), varint(said), -1 if places is None else places)
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def read_whole(path: Path, **section: Any) -> list[str | None]:
    """Return the code of each sample that reading rejects; images are read, not decoded."""
    reading = InputSettings(format="parquet", urls=("x",), **section).reading()
    shard = open_shard(path, str(path), reading)
    raws = list(shard.samples(0, len(shard)))
    for _ in shard.images([raw for raw in raws if raw.rejected is None]):
        pass
    return [None if raw.rejected is None else raw.rejected.code for raw in raws]


def deep(levels: int) -> pa.DataType:
    kind: pa.DataType = pa.int8()
    for _ in range(levels):
        kind = pa.struct([("a", kind)])
    return kind


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a footer that claims more rows than its groups": (
        lambda: lying(plain(), ROWS, 10**15, 1),
        "SHARD_FORMAT",
    ),
    "groups that claim fewer rows than their file": (lambda: lying(plain(), ROWS, 8_000, 1), "SHARD_FORMAT"),
    "an absurd number of rows everywhere": (lambda: lying(plain(), ROWS, 10**12), "SHARD_LIMIT"),
    "one row too many to be read": (lambda: lying(plain(), ROWS, MAX_ROWS + 1), "SHARD_LIMIT"),
    "rows that are promised and not there": (lambda: lying(plain(), ROWS, ROWS + 99), "SHARD_FORMAT"),
    "a negative number of rows": (lambda: lying(plain(), ROWS, -ROWS), "SHARD_FORMAT"),
    "a footer of more bytes than are read": (
        lambda: file_of({"a": [1]}) + bytes(8) + (MAX_FOOTER_BYTES + 1).to_bytes(4, "little") + b"PAR1",
        "SHARD_FORMAT",
    ),
    "a footer full of text": (
        lambda: _with_metadata({"x": "y" * MAX_FOOTER_BYTES}),
        "SHARD_FORMAT",
    ),
    "an image column of numbers": (lambda: file_of({"jpg": [1], "caption": ["a"]}), "SHARD_SCHEMA"),
    "an image column of lists": (lambda: file_of({"jpg": [[b"x"]], "caption": ["a"]}), "SHARD_SCHEMA"),
    "an image struct of three": (
        lambda: file_of({"jpg": [{"bytes": b"", "path": "", "url": ""}], "caption": ["a"]}),
        "SHARD_SCHEMA",
    ),
    "an image column of text": (lambda: file_of({"jpg": ["x"], "caption": ["a"]}), "SHARD_SCHEMA"),
    "a caption column of lists": (lambda: file_of({"jpg": [b"x"], "caption": [["a"]]}), "SHARD_SCHEMA"),
    "a kept column of lists of lists": (
        lambda: file_of({"jpg": [b"x"], "caption": ["a"], "tag": [[[1]]]}),
        "SHARD_SCHEMA",
    ),
    "a kept column forty structs deep": (
        lambda: file_of({"jpg": [b"x"], "caption": ["a"], "tag": pa.array([None], deep(40))}),
        "SHARD_SCHEMA",
    ),
    "two image columns of one name": (lambda: _twice("jpg"), "SHARD_SCHEMA"),
    "a kept list of too many items": (
        lambda: file_of({"jpg": [b"x"], "caption": ["a"], "tag": [list(bytes(8_000_001))]}),
        "SHARD_LIMIT",
    ),
    "a page whose checksum does not match": (
        lambda: _flipped(_checksummed()),
        "SHARD_FORMAT",
    ),
    "a gzip file": (lambda: b"\x1f\x8b" + bytes(100), "SHARD_FORMAT"),
    "an Arrow file": (lambda: b"ARROW1\0\0" + bytes(100) + b"ARROW1", "SHARD_FORMAT"),
    "an encrypted footer": (lambda: plain(1)[:-4] + b"PARE", "SHARD_FORMAT"),
}


def _with_metadata(metadata: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"jpg": [b"x"], "caption": ["a"]}).replace_schema_metadata(metadata)
    pq.write_table(table, sink)
    return sink.getvalue()


def _twice(name: str) -> bytes:
    sink = io.BytesIO()
    schema = pa.schema([(name, pa.binary()), (name, pa.binary()), ("caption", pa.string())])
    pq.write_table(
        pa.Table.from_arrays([pa.array([b"x"]), pa.array([b"y"]), pa.array(["a"])], schema=schema), sink
    )
    return sink.getvalue()


def _flipped(data: bytes) -> bytes:
    at = data.index(picture()) + 60
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _checksummed() -> bytes:
    columns = {"jpg": [picture()] * 40, "caption": ["a red patch"] * 40}
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    return file_of(columns, write_page_checksum=True, **options)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_table_has_its_code(tmp_path: Path, name: str) -> None:
    make, code = HOSTILE[name]
    path = tmp_path / "shard.parquet"
    path.write_bytes(make())

    with pytest.raises(ShardDamagedError) as caught:
        read_whole(path, keep=("tag",))

    assert caught.value.code == code, caught.value


def test_the_plain_tables_that_the_hostile_ones_were_made_of_are_read(tmp_path: Path) -> None:
    for number, data in enumerate((plain(), _checksummed(), _with_metadata({"x": "y"}))):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(data)
        assert set(read_whole(path)) == {None}


def test_a_flipped_byte_goes_unseen_without_the_check_of_pages(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    path.write_bytes(_flipped(_checksummed()))

    assert pq.read_table(path, columns=["jpg"])["jpg"].to_pylist() != [picture()] * 40


def test_a_column_whose_name_begins_like_the_images_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    path.write_bytes(file_of({"jpg": [picture()], "jpg.x": pa.array([[[1]]]), "caption": ["a red patch"]}))

    assert read_whole(path) == [None]


def test_a_list_of_texts_that_is_no_utf8_costs_its_own_cell(tmp_path: Path) -> None:
    bad = pa.array([[b"x"], [b"\xff"], [b"y", b"z"]], pa.list_(pa.binary())).cast(pa.list_(pa.binary()))
    tags = pa.ListArray.from_arrays(bad.offsets, bad.values.view(pa.string()))
    path = tmp_path / "shard.parquet"
    path.write_bytes(file_of({"jpg": [picture()] * 3, "caption": ["a red patch"] * 3, "tag": tags}))
    reading = InputSettings(format="parquet", urls=("x",), keep=("tag",)).reading()

    raws = list(open_shard(path, str(path), reading).samples(0, 3))

    assert [raw.rejected for raw in raws] == [None] * 3
    assert [raw.meta["tag"] for raw in raws] == [["x"], None, ["y", "z"]]


def test_the_path_of_an_image_struct_is_never_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture())
    path = tmp_path / "shard.parquet"
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    path.write_bytes(
        file_of({"jpg": pa.array([{"bytes": None, "path": str(secret)}], kind), "caption": ["a red patch"]})
    )
    shard = open_shard(path, str(path), InputSettings(format="parquet", urls=("x",)).reading())

    assert list(shard.images(list(shard.samples(0, 1)))) == [b""]


READ = "from tests.reading.test_parquet_bombs import *"
BOMBS = {
    "a dictionary of one large value, repeated": pa.DictionaryArray.from_arrays(
        pa.array([0] * 400, pa.int32()), pa.array([bytes(BIG)], pa.binary())
    ),
    "runs of nulls": pa.nulls(200_000, pa.binary()),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_few_bytes_takes_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.parquet"
    rows = len(BOMBS[name])
    path.write_bytes(file_of({"jpg": BOMBS[name], "caption": ["a red patch"] * rows}, compression="zstd"))
    assert path.stat().st_size < 20_000
    walk = f"""
shard = open_shard(Path({str(path)!r}), "x", InputSettings(format="parquet", urls=("x",)).reading())
raws = list(shard.samples(0, 12))
for image in shard.images(raws): pass
"""

    assert grown_mib(READ, walk) < 200


@pytest.mark.slow
def test_what_the_bomb_does_to_a_reader_that_takes_its_rows_together(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    bomb = BOMBS["a dictionary of one large value, repeated"]
    path.write_bytes(file_of({"jpg": bomb, "caption": ["a red patch"] * len(bomb)}, compression="zstd"))

    assert grown_mib(READ, f"next(pq.ParquetFile({str(path)!r}).iter_batches(24))") > 400
