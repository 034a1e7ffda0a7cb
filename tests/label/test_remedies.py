"""What an output that was harmed, or a slip in a job, is told: the remedy that is named is one that works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.ledger.verify import verify
from engine.reading.spool import stat_shard
from engine.settings import MAX_BATCH_SIZE, RunSettings
from pipelines.label.run import label
from schemas.errors import Conflict, ShardDamaged
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


def test_a_segment_that_is_gone_is_a_conflict_that_names_the_remedy(tmp_path: Path) -> None:
    job = job_of(tmp_path, [write_shard(tmp_path / "0.tar", plain_captions(4))])
    before, out = label(job, factories=FACTORIES), tmp_path / "out"
    for segment in (out / "segments").iterdir():
        segment.unlink()
    with pytest.raises(Conflict, match="move snapshots/ away"):
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
    with pytest.raises(Conflict, match=f"commits/{unit} away"):
        verify(str(out))
    (out / "snapshots").rename(tmp_path / "snapshots")
    (out / "commits" / unit).rename(tmp_path / "commit")
    assert label(job, factories=FACTORIES)["digest"] == before["digest"]
    verify(str(out))


def test_a_pipe_is_not_called_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(ShardDamaged, match="is a pipe or a device"):
        stat_shard(str(tmp_path / "0.tar"))


def test_a_batch_that_no_memory_holds_is_refused() -> None:
    assert RunSettings(batch_size=MAX_BATCH_SIZE).batch_size == MAX_BATCH_SIZE
    with pytest.raises(ValidationError, match="less than or equal"):
        RunSettings(batch_size=10**9)
