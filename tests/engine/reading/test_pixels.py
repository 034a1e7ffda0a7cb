from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.reading.pixels import read_pixels, rebase_url
from engine.storage.store import open_store
from pipelines.label.run import label
from schemas.errors import NotFoundError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, picture, plain_captions, write_shard


def labeled_rows(folder: Path, job) -> list[dict]:
    label(job, factories=FACTORIES)
    store = open_store(str(folder / "out"))
    return list(evidence_rows(store, latest_snapshot(store)))


def test_a_rows_pixels_are_the_bytes_that_were_labeled(tmp_path: Path) -> None:
    tar = write_shard(tmp_path / "a.tar", plain_captions(5))
    rows = labeled_rows(tmp_path, job_of(tmp_path, [tar]))

    digests = [hashlib.sha256(read_pixels(row["pixels"])).hexdigest() for row in rows]

    assert digests == [row["image_sha256"] for row in rows]
    assert len(rows) == 5


def test_the_same_holds_for_parquet(tmp_path: Path) -> None:
    images = [picture(colour) for colour in ("red", "green", "blue")]
    pq.write_table(
        pa.table({"jpg": images, "txt": plain_captions(3)}), tmp_path / "a.parquet", row_group_size=2
    )
    rows = labeled_rows(tmp_path, job_of(tmp_path, [tmp_path / "a.parquet"], input={"format": "parquet"}))

    assert [read_pixels(row["pixels"]) for row in rows] == images


def test_of_several_columns_of_images_the_labeled_one_is_read(tmp_path: Path) -> None:
    columns = {"jpg": [picture("blue")], "Photo": [picture("red")], "caption": ["the red patch"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    section = {"format": "parquet", "image": ["Photo"]}
    rows = labeled_rows(tmp_path, job_of(tmp_path, [tmp_path / "a.parquet"], input=section))

    assert [read_pixels(row["pixels"]) for row in rows] == [picture("red")]


def test_moved_shards_are_found_through_roots(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    tar = write_shard(tmp_path / "there" / "a.tar", plain_captions(1))
    pixels = {"url": "s3://bucket/web/a.tar", "offset": 0, "length": 100, "row_group": None, "row": None}

    found = read_pixels(pixels, roots={"s3://": "/nowhere/", "s3://bucket/web/": f"{tmp_path}/there/"})

    assert found == tar.read_bytes()[:100]


def test_no_offset_means_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())

    assert read_pixels({"url": str(tmp_path / "a.png")}) == picture()


def test_the_longest_matching_root_counts() -> None:
    assert rebase_url("s3://a/b/c", {"s3://a/": "/1/", "s3://a/b/": "/2/"}) == "/2/c"
    assert rebase_url("s3://z/c", {"s3://a/": "/1/"}) == "s3://z/c"


@pytest.mark.parametrize(
    "pixels",
    [
        {"url": "/no/such.tar", "offset": 0, "length": 1},
        {"url": "SHORT", "offset": 5, "length": 10},
        {"url": "/no/such.parquet", "row_group": 0, "row": 0, "column": "jpg"},
        {"url": "SHORT", "row_group": 0, "row": 0, "column": "jpg"},
    ],
)
def test_bytes_that_are_not_there_are_said_to_be(tmp_path: Path, pixels: dict) -> None:
    (tmp_path / "short").write_bytes(b"0123456789")
    where = json.loads(json.dumps(pixels).replace("SHORT", str(tmp_path / "short")))

    with pytest.raises(NotFoundError):
        read_pixels(where)
