from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.reading.pixels import read_pixels
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from schemas.errors import ShardDamagedError
from tests.engine.canary import canary
from tests.engine.worlds import picture

IMAGES = [picture(colour) for colour in ("red", "green", "blue")] * 4


def shard(path: Path, **settings: object):
    reading = InputSettings(format="parquet", urls=("x",), **settings).reading()
    return open_shard(path, f"s3://b/{path.name}", reading)


def written(tmp_path: Path, table: pa.Table, **options: object) -> Path:
    path = tmp_path / "shard.parquet"
    pq.write_table(table, path, **options)
    return path


def table(image_type: pa.DataType, **columns: list) -> pa.Table:
    cells = [{"bytes": image, "path": None} for image in IMAGES] if pa.types.is_struct(image_type) else IMAGES
    names = {"caption": [f"a cat {index}" for index in range(len(IMAGES))], **columns}
    return pa.table({"image": pa.array(cells, image_type), **names})


@pytest.mark.parametrize(
    "image_type",
    [pa.binary(), pa.large_binary(), pa.struct([("bytes", pa.binary()), ("path", pa.string())])],
    ids=str,
)
def test_every_row_is_a_sample_with_its_own_image(tmp_path: Path, image_type: pa.DataType) -> None:
    path = written(tmp_path, table(image_type, key=[f"k{i}" for i in range(12)]), row_group_size=5)
    rows = shard(path)

    raws = list(rows.samples(3, 7))

    assert [(raw.index, raw.key, raw.caption) for raw in raws] == [
        (i, f"k{i}", f"a cat {i}") for i in range(3, 10)
    ]
    assert list(rows.images(raws)) == IMAGES[3:10]
    for raw in raws:
        assert raw.pixels is not None and raw.pixels.column == "image"
        assert read_pixels(raw.pixels.model_copy(update={"url": str(path)})) == IMAGES[raw.index]


def test_images_of_some_rows_are_those_rows_images(tmp_path: Path) -> None:
    rows = shard(written(tmp_path, table(pa.binary()), row_group_size=4))
    raws = [raw for raw in rows.samples(0, 12) if raw.index in (1, 6, 7, 11)]

    assert list(rows.images(raws)) == [IMAGES[index] for index in (1, 6, 7, 11)]


def test_a_caption_that_is_no_utf8_costs_its_own_row(tmp_path: Path) -> None:
    bad = pa.array([b"a cat", b"\xff\xfe", None], pa.binary()).view(pa.string())
    rows = shard(written(tmp_path, pa.table({"image": IMAGES[:3], "txt": bad})))

    codes = [raw.rejected.code if raw.rejected else None for raw in rows.samples(0, 3)]

    assert codes == [None, "CAP_UTF8", "CAP_MISSING"]


def test_source_fields_and_kept_columns_are_carried(tmp_path: Path) -> None:
    columns = {
        "url": ["http://x/1"] * 12,
        "license": ["cc0"] * 12,
        "original_width": [640.0] * 12,
        "tag": [7] * 12,
    }
    rows = shard(written(tmp_path, table(pa.binary(), **columns)), keep=("tag", "absent"))

    raw = next(iter(rows.samples(0, 1)))

    assert (raw.source.url, raw.source.license, raw.source.original_width) == ("http://x/1", "cc0", 640)
    assert raw.meta == {"tag": 7}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"url": ["x"], "TEXT": ["a"]}, "no image column"),
        ({"image": [b"x"]}, "no text column"),
        ({"image": [b"x"], "other": [b"y"], "caption": [3]}, "no text column"),
        ({"a": [b"x"], "b": [b"y"], "caption": ["c"]}, "no image column"),
    ],
)
def test_a_table_without_the_needed_columns_is_refused_with_its_columns(
    tmp_path: Path, columns: dict, words: str
) -> None:
    with pytest.raises(ShardDamagedError, match=words) as caught:
        shard(written(tmp_path, pa.table(columns)))

    assert caught.value.code == "SHARD_SCHEMA"


def test_an_extension_type_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with canary() as (evil, fired):
        path = written(tmp_path, pa.table({"image": [b"x"], "caption": ["c"], "evil": evil}))
        pq.read_schema(path)
        assert fired, "the canary must sing for a naive reader, or this test shows nothing"
        fired.clear()

        with pytest.raises(ShardDamagedError, match="extension type"):
            shard(path)

        assert fired == []


def test_truncation_anywhere_is_never_silent(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(table(pa.binary()), sink)
    whole = sink.getvalue()
    path = tmp_path / "cut.parquet"
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ShardDamagedError):
            shard(path)


def test_no_hostile_table_crashes_the_reader(shared_data: Path) -> None:
    codes = []
    for path in sorted((shared_data / "nasty" / "parquet").rglob("*.parquet")):
        with pytest.raises(ShardDamagedError) as caught:
            list(shard(path).samples(0, 10))
        codes.append(caught.value.code)

    assert len(codes) > 40
