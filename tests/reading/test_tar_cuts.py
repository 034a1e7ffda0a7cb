"""A truncated tar is never a shorter list: every byte of small ones, every block of real ones."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from engine.reading.formats.tar import BLOCK, Member, read_members
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from pipelines.label.run import label
from schemas.errors import ShardDamagedError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, picture, tar_bytes

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def small(kind: int) -> bytes:
    """Return two samples, one with a long name, and nothing after the trailer."""
    long = "folder/" * 20 + "b"
    if kind == tarfile.USTAR_FORMAT:
        long = "folder/b"
    parts = [
        ("a.png", picture()),
        ("a.txt", b"a red patch"),
        (f"{long}.png", picture("blue")),
        (f"{long}.txt", b"b"),
    ]
    whole = tar_bytes(parts, kind)
    return whole[: len(whole.rstrip(b"\0")) // BLOCK * BLOCK + BLOCK + 2 * BLOCK]


def outcome(path: Path) -> str | list[Member]:
    try:
        return read_members(path)
    except ShardDamagedError as damage:
        return damage.code


def cut_outcomes(path: Path, sizes: range) -> Counter[str]:
    """Return the outcome for each of the descending sizes: a code, `whole`, or `fewer`."""
    whole = read_members(path)
    seen = Counter[str]()
    for size in sizes:
        os.truncate(path, size)
        found = outcome(path)
        seen[found if isinstance(found, str) else "whole" if found == whole else "fewer"] += 1
    return seen


@pytest.mark.parametrize("kind", FORMATS)
def test_no_byte_at_which_a_small_archive_is_cut_goes_unseen(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(small(FORMATS[kind]))
    size = path.stat().st_size

    seen = cut_outcomes(path, range(size - 1, -1, -1))

    assert seen.total() == size and seen.keys() <= {"SHARD_TRUNCATED", "SHARD_FORMAT"}
    assert (
        seen["SHARD_TRUNCATED"] > size - BLOCK
    )  # within the first header there is no telling what the file was


def test_pythons_own_reader_would_take_hundreds_of_these_cuts(tmp_path: Path) -> None:
    data = small(tarfile.USTAR_FORMAT)
    silent = 0
    for size in range(0, len(data), 16):
        try:
            with tarfile.open(fileobj=io.BytesIO(data[:size]), mode="r|") as archive:
                silent += sum(1 for _ in archive) < 4
        except tarfile.TarError:
            continue

    assert silent > 20


def test_a_cut_shard_is_labeled_by_no_job_and_named_in_its_summary(tmp_path: Path) -> None:
    data = small(tarfile.USTAR_FORMAT)
    paths = [tmp_path / f"{size}.tar" for size in range(BLOCK, len(data), 3 * BLOCK)]
    for path in paths:
        path.write_bytes(data[: int(path.stem)])

    summary = label(job_of(tmp_path, paths), factories=FACTORIES)

    assert summary["samples"]["in"] == 0
    assert {failure["code"] for failure in summary["failures"]} == {"SHARD_TRUNCATED"}
    assert len(summary["failures"]) == len(paths)


def test_no_block_at_which_another_tools_shard_is_cut_goes_unseen(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "a.tar"
    shutil.copy(shared_data / "foreign_shards" / "nemo-curator_00000.tar", path)
    path.chmod(0o600)
    last = read_members(path)[-1]
    end = last.offset + -(-last.size_bytes // BLOCK) * BLOCK + 2 * BLOCK

    os.truncate(path, end)
    assert outcome(path)[-1] == last  # the padding behind the trailer holds nothing

    seen = cut_outcomes(path, range(end - BLOCK, -1, -BLOCK))

    assert seen.total() == end // BLOCK and seen.keys() == {"SHARD_TRUNCATED"}


@pytest.mark.slow
def test_no_block_at_which_a_shard_of_photographs_is_cut_goes_unseen(
    tmp_path: Path, shared_data: Path
) -> None:
    path = tmp_path / "a.tar"
    shutil.copy(shared_data / "real_web" / "00000.tar", path)
    path.chmod(0o600)
    members = read_members(path)
    end = members[-1].offset + -(-members[-1].size_bytes // BLOCK) * BLOCK + 2 * BLOCK
    os.truncate(path, end)
    assert read_members(path) == members

    seen = cut_outcomes(path, range(end - BLOCK, -1, -BLOCK))

    assert seen.keys() == {"SHARD_TRUNCATED"} and seen.total() == end // BLOCK > 5_000


@pytest.mark.parametrize("at", ["header", "data", "padding", "trailer"])
def test_where_bytes_are_lost_inside_an_archive_what_follows_is_not_read_askew(
    tmp_path: Path, at: str
) -> None:
    data = small(tarfile.USTAR_FORMAT)
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    first = read_members(path)[0]
    place = {"header": 10, "data": first.offset + 5, "padding": first.offset + first.size_bytes + 1}
    start = place.get(at, len(data) - BLOCK - 3)
    path.write_bytes(data[:start] + data[start + 7 :])

    assert outcome(path) in ("SHARD_TRUNCATED", "SHARD_FORMAT")


def test_every_sample_of_the_whole_archive_is_read(tmp_path: Path) -> None:
    for kind in FORMATS.values():
        path = tmp_path / "a.tar"
        path.write_bytes(small(kind))
        shard = open_shard(path, "a.tar", InputSettings(urls=("x",), image=("png",)).reading())
        raws = list(shard.samples(0, 9))

        assert [raw.rejected for raw in raws] == [None, None]
        assert list(shard.images(raws)) == [picture(), picture("blue")]
