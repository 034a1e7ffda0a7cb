from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ledger.verify import verify
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.settings import StorageSettings
from engine.storage.filesystems import open_filesystem
from engine.storage.local_files import TEMPORARY
from pipelines.label.run import label
from schemas.errors import RuntimeEnvironmentError, ShardDamagedError
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES
from tests.engine.storage.test_local_files import leave_half_a_file
from tests.engine.worlds import job_of, plain_captions, write_shard


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, StorageSettings]]:
    with s3_bucket() as bucket:
        yield bucket


def upload(bucket: tuple[str, StorageSettings], name: str, data: bytes) -> str:
    url = f"{bucket[0]}/{name}"
    filesystem, path = open_filesystem(url, bucket[1])
    filesystem.pipe_file(path, data)
    return url


def test_a_local_shard_is_read_in_place(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", plain_captions(1))

    assert ShardCache(str(tmp_path / "shard_cache")).fetch(stat_shard(str(shard))) == shard


def test_a_local_shard_is_not_copied(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", plain_captions(1))

    ShardCache(str(tmp_path / "shard_cache")).fetch(stat_shard(str(shard)))

    assert not (tmp_path / "shard_cache").exists()


@pytest.mark.parametrize("kind", ["open to all", "a link"])
def test_a_cache_folder_that_others_could_fill_is_refused(tmp_path: Path, bucket, kind: str) -> None:
    shard_cache = tmp_path / "shard_cache"
    if kind == "a link":
        shard_cache.symlink_to(tmp_path)
    else:
        shard_cache.mkdir()
        shard_cache.chmod(0o777)
    stat = stat_shard(upload(bucket, "foreign.tar", b"x"), bucket[1])

    with pytest.raises(RuntimeEnvironmentError, match="only this user can write"):
        ShardCache(str(shard_cache)).fetch(stat, bucket[1])


def test_a_remote_shard_is_fetched_once(tmp_path: Path, bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = stat_shard(upload(bucket, "once.tar", b"x" * 3_000), bucket[1])
    first = ShardCache(str(tmp_path)).fetch(stat, bucket[1])
    monkeypatch.setattr("shutil.copyfileobj", None)  # a second copy would fail

    again = ShardCache(str(tmp_path)).fetch(stat, bucket[1])

    assert again == first and first.read_bytes() == b"x" * 3_000


def test_a_shard_that_changed_since_the_plan_is_refused(tmp_path: Path, bucket) -> None:
    shard_cache = ShardCache(str(tmp_path / "shard_cache"))
    local = write_shard(tmp_path / "a.tar", plain_captions(1))
    planned = [
        (stat_shard(upload(bucket, "b.tar", b"old"), bucket[1]), bucket[1]),
        (stat_shard(str(local)), None),
    ]
    upload(bucket, "b.tar", b"new bytes")
    write_shard(local, plain_captions(2))

    for stat, storage in planned:
        with pytest.raises(ShardDamagedError, match="plan anew") as caught:
            shard_cache.fetch(stat, storage)
        assert caught.value.code == "INPUT_CHANGED"


def test_the_shard_cache_stays_under_its_cap_and_drops_the_longest_unused(tmp_path: Path, bucket) -> None:
    stats = [stat_shard(upload(bucket, f"{n}.tar", b"x" * 1_000), bucket[1]) for n in range(4)]
    shard_cache = ShardCache(str(tmp_path), cap_bytes=2_500)
    paths = []
    for number, stat in enumerate(stats):
        paths.append(shard_cache.fetch(stat, bucket[1]))
        os.utime(paths[-1], ns=(number, number))

    assert [path.exists() for path in paths] == [False, False, True, True]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY)]


def test_a_partial_download_of_a_dead_process_is_removed_and_one_of_a_living_process_is_kept(
    tmp_path: Path, bucket, project_root: Path
) -> None:
    abandoned = leave_half_a_file(tmp_path, project_root)
    _, machine, _, number = abandoned.name.split("-")
    living = abandoned.with_name(f"{TEMPORARY}{machine}-{os.getpid()}-{number}")
    living.write_bytes(b"half a shard")

    ShardCache(str(tmp_path)).fetch(stat_shard(upload(bucket, "whole.tar", b"x"), bucket[1]), bucket[1])

    assert living.exists() and not abandoned.exists()


@pytest.mark.parametrize("url", ["/no/such.tar", "s3://BUCKET/no.tar"])
def test_a_missing_shard_has_its_code(url: str, bucket) -> None:
    with pytest.raises(ShardDamagedError) as caught:
        stat_shard(url.replace("s3://BUCKET", bucket[0]), bucket[1])

    assert caught.value.code == "SHARD_MISSING"


def test_a_job_from_bucket_to_bucket_is_labeled_and_verified(
    tmp_path: Path, bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the shard cache is
    shards = [write_shard(tmp_path / f"{n}.tar", plain_captions(20)) for n in range(2)]
    for shard in shards:
        upload(bucket, f"web/{shard.name}", shard.read_bytes())
    storage = {"endpoint_url": bucket[1].endpoint_url}
    job = job_of(
        tmp_path,
        [f"{bucket[0]}/web/*.tar"],
        input={"storage": storage},
        output={"url": f"{bucket[0]}/evidence", "storage": storage},
    )

    summary = label(job, factories=FACTORIES)
    again = label(job, factories=FACTORIES)

    assert summary["samples"]["in"] == 40 and summary["units"]["committed"] == 6
    assert again == summary
    verify(f"{bucket[0]}/evidence", storage=bucket[1])
