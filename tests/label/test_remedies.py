"""Errors of a damaged output or a wrong job: the remedy that is named works."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.ledger.attempts import list_attempts
from engine.ledger.epochs import read_epoch
from engine.ledger.snapshots import file_check
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.snapshots.status import status
from engine.ledger.verify import verify
from engine.reading.shard_cache import stat_shard
from engine.settings import MAX_BATCH_SIZE, RunSettings
from engine.storage.store import open_store
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from pipelines.label.run_records import load_plan, read_job
from schemas.errors import ConflictError, ShardDamagedError
from schemas.ledger import SnapshotEntry
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


def test_a_segment_that_is_gone_is_a_conflict_that_names_the_remedy(tmp_path: Path) -> None:
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", plain_captions(4))])
    before, out = label(job, factories=FACTORIES), tmp_path / "out"
    for segment in (out / "segments").iterdir():
        segment.unlink()
    with pytest.raises(ConflictError, match="move snapshots/ away"):
        verify(str(out))
    (out / "snapshots").rename(tmp_path / "snapshots")
    assert label(job, factories=FACTORIES)["digest"] == before["digest"]
    verify(str(out))


@pytest.mark.parametrize("harm", ["deleted", "changed"])
def test_the_remedy_for_lost_data_redoes_the_unit(tmp_path: Path, harm: str) -> None:
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", plain_captions(4))])
    before, out = label(job, factories=FACTORIES), tmp_path / "out"
    (data,) = (out / "data").rglob("*.parquet")
    if harm == "deleted":
        data.unlink()
    else:
        data.write_bytes(b"x" * data.stat().st_size)
    unit = data.parent.parent.name
    with pytest.raises(ConflictError, match=f"commits/{unit} away"):
        verify(str(out))
    (out / "snapshots").rename(tmp_path / "snapshots")
    (out / "commits" / unit).rename(tmp_path / "commit")
    assert label(job, factories=FACTORIES)["digest"] == before["digest"]
    verify(str(out))


LOST = ["data", "rejected", "commits"]


@pytest.mark.parametrize("folder", LOST)
def test_a_run_does_not_call_done_what_is_gone(tmp_path: Path, folder: str) -> None:
    captions = [*plain_captions(3), ""]
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", captions)], input={"unit_samples": 2})
    before, out = label(job, factories=FACTORIES), tmp_path / "out"
    lost = max(path for path in (out / folder).rglob("*") if path.is_file())
    unit = lost.relative_to(out).parts[1]
    lost.unlink()

    with pytest.raises(
        ConflictError, match=f"1 files of 1 committed units are missing, first {folder}/{unit}/"
    ):
        label(job, factories=FACTORIES)

    (out / "snapshots").rename(tmp_path / "snapshots")
    (out / "commits" / unit).rename(tmp_path / "commit")
    assert label(job, factories=FACTORIES)["digest"] == before["digest"]
    verify(str(out))


def test_missing_files_of_another_job_are_ignored(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "0.tar", plain_captions(2))
    label(job_of(tmp_path, [shard]), factories=FACTORIES)
    shutil.rmtree(tmp_path / "out" / "data")

    assert (
        label(job_of(tmp_path, [shard], input={"unit_samples": 1}), factories=FACTORIES)["units"]["committed"]
        == 2
    )


def test_a_run_reports_that_it_checked_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_check, "MAX_CHECKED_UNITS", 0)
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", plain_captions(2))])

    label(job, factories=FACTORIES)
    label(job, factories=FACTORIES)

    assert caplog.text.count("groundswell verify") == 1


def test_status_names_a_segment_that_is_gone(tmp_path: Path) -> None:
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", plain_captions(2))])
    label(job, factories=FACTORIES)
    (segment,) = (tmp_path / "out" / "segments").iterdir()
    segment.unlink()

    with pytest.raises(
        ConflictError, match=f"{segment.name} does not exist; restore them, or move snapshots/ away"
    ):
        status(str(tmp_path / "out"))


def harmed(out: Path, folder: str) -> Path:
    """Return the path of the latest record of a folder, after it was damaged."""
    return max((out / folder).rglob("*.json"))


HARMS = {"torn": b'{"unit": {"na', "not text": b"\xff\xfe\x00", "another": b'{"format_version": "1.0"}'}
READERS: dict[str, Callable[[JobConfig], object]] = {
    "commits": lambda job: verify(job.output.url),
    "snapshots": lambda job: label(job, factories=FACTORIES),
    "shards": lambda job: label(job, factories=FACTORIES),
    "epochs": lambda job: read_epoch(open_store(job.output.url), 1),
    "attempts": lambda job: [
        list_attempts(open_store(job.output.url), entry.unit, entry.fingerprint) for entry in entries(job)
    ],
    "jobs": lambda job: read_job(open_store(job.output.url), job.digest()),
    "plans": lambda job: load_plan(harmed(Path(job.output.url), "plans").stem, open_store(job.output.url)),
}


def entries(job: JobConfig) -> list[SnapshotEntry]:
    store = open_store(job.output.url)
    return list(snapshot_entries(store, latest_snapshot(store)))


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("folder", READERS)
def test_a_harmed_record_is_named_in_one_line_with_a_remedy_that_works(
    tmp_path: Path, folder: str, harm: str
) -> None:
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", plain_captions(2))])
    before, out = label(job, factories=FACTORIES), tmp_path / "out"
    record = harmed(out, folder)
    record.write_bytes(HARMS[harm])

    with pytest.raises(ConflictError) as caught:
        READERS[folder](job)

    said = str(caught.value).removeprefix(f"{out}: 1 problems\n").split(": ", folder == "commits")[-1]
    assert str(record) in said and "\n" not in said
    assert "pydantic" not in said and "input_value" not in said
    assert re.search("; (restore|move|delete|end all runs)", said)
    record.rename(tmp_path / "harmed")
    if folder in ("commits", "snapshots"):
        (out / "snapshots").rename(tmp_path / "snapshots")
    assert label(job, factories=FACTORIES)["digest"] == before["digest"]
    verify(str(out))


def test_a_pipe_is_not_called_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(ShardDamagedError, match="is a pipe or a device"):
        stat_shard(str(tmp_path / "0.tar"))


def test_a_batch_size_beyond_any_memory_is_refused() -> None:
    assert RunSettings(batch_size=MAX_BATCH_SIZE).batch_size == MAX_BATCH_SIZE
    with pytest.raises(ValidationError, match="expected a whole number from 1 to 4096, or auto"):
        RunSettings(batch_size=10**9)
