"""`retry` redoes what failed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.ledger.snapshots.status import status
from engine.ledger.verify import verify
from engine.storage.store import open_store
from pipelines.cli import build_app
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import load_latest_progress
from pipelines.label.retry import retry
from pipelines.label.run import label, run_job
from schemas.errors import ConfigError, ConflictError, NotFoundError, RuntimeEnvironmentError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


def redo(url: Path, *overrides: str) -> tuple[dict, list[str]]:
    said: list[str] = []
    return retry(str(url), overrides, factories=FACTORIES, say=said.append), said


@pytest.fixture
def job(tmp_path: Path) -> JobConfig:
    """Return a job with three shards: an intact one, a truncated one, a missing one."""
    whole = write_shard(tmp_path / "good.tar", plain_captions(20))
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:2048])
    return job_of(tmp_path, [whole, tmp_path / "cut.tar", tmp_path / "missing.tar"])


def data_times(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*.parquet")}


def test_missing_and_damaged_shards_are_redone_and_nothing_else(
    tmp_path: Path, job: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert label(job, factories=FACTORIES)["units"]["failed"] == 2
    before = data_times(out)
    write_shard(tmp_path / "cut.tar", plain_captions(20))
    write_shard(tmp_path / "missing.tar", plain_captions(5))
    monkeypatch.chdir("/")

    summary, said = redo(out)

    assert summary["units"] == {"planned": 7, "committed": 7, "failed": 0, "pending": 0, "quarantined": 0}
    assert said == ["redoing 2 of 2 failed units and shards"]
    assert {path: data_times(out)[path] for path in before} == before
    undisturbed = label(
        job.model_copy(update={"output": job.output.model_copy(update={"url": str(tmp_path / "other")})}),
        factories=FACTORIES,
    )
    assert verify(str(out))["digest"] == undisturbed["digest"] == summary["digest"]


def test_what_is_still_broken_fails_again_by_name(tmp_path: Path, job: JobConfig) -> None:
    first = label(job, factories=FACTORIES)

    summary, _ = redo(tmp_path / "out")

    assert summary["failures"] == first["failures"]
    assert summary["redone"] == 1  # the cut shard is read again; the missing one is looked for and not there


def test_a_failed_unit_alone_is_handed_out_again(tmp_path: Path) -> None:
    bad = [f"{caption} explode" for caption in plain_captions(8)]
    shard = write_shard(tmp_path / "a.tar", plain_captions(8) + bad + plain_captions(8))
    assert label(job_of(tmp_path, [shard]), factories=FACTORIES)["units"]["failed"] == 1

    summary, said = redo(tmp_path / "out")

    assert (summary["units"]["committed"], summary["units"]["failed"]) == (2, 1)
    assert said == ["redoing 1 of 1 failed units and shards"]


def test_pending_units_are_not_begun(tmp_path: Path, job: JobConfig) -> None:
    # a run that ended before it began anything: two shards are pending
    run_job(job, FACTORIES, narrow=lambda work: work.keep_only([]))
    assert status(str(tmp_path / "out"))["units"] == {
        "planned": 3,
        "committed": 0,
        "failed": 1,
        "pending": 2,
        "quarantined": 0,
    }
    write_shard(tmp_path / "missing.tar", plain_captions(5))

    summary, _ = redo(tmp_path / "out", "run.executor=local")  # no run has told its settings

    assert summary["units"] == {"planned": 3, "committed": 1, "failed": 0, "pending": 2, "quarantined": 0}


def test_a_retry_that_ends_early_forgets_no_failure(tmp_path: Path, job: JobConfig) -> None:
    failures = label(job, factories=FACTORIES)["failures"]
    write_shard(tmp_path / "missing.tar", plain_captions(20))
    (tmp_path / "teacher.json").write_text('{"refuse": true}')

    with pytest.raises(RuntimeEnvironmentError, match="no such accelerator"):
        redo(tmp_path / "out")

    units = status(str(tmp_path / "out"))
    assert [f["shard"] for f in units["failures"]] == [f["shard"] for f in failures]
    (tmp_path / "teacher.json").write_text("{}")
    assert redo(tmp_path / "out")[0]["units"] == {
        "planned": 7,
        "committed": 6,
        "failed": 1,
        "pending": 0,
        "quarantined": 0,
    }


def test_no_failure_is_reported_and_no_record_is_not_found(tmp_path: Path) -> None:
    label(job_of(tmp_path, [write_shard(tmp_path / "a.tar", plain_captions(4))]), factories=FACTORIES)

    summary, said = redo(tmp_path / "out")

    assert said == [f"nothing failed in {tmp_path}/out"]
    assert (summary["units"]["committed"], summary["redone"]) == (1, 0)
    assert CliRunner().invoke(build_app(), ["retry", str(tmp_path / "out")]).exit_code == 0
    assert (
        CliRunner().invoke(build_app(), ["retry", str(tmp_path / "nowhere")]).exit_code
        == NotFoundError.exit_code
    )
    next((tmp_path / "out" / "jobs").iterdir()).unlink()
    with pytest.raises(NotFoundError, match="jobs/"):
        redo(tmp_path / "out")


def test_overrides_say_how_to_run_and_nothing_of_the_job(tmp_path: Path, job: JobConfig) -> None:
    label(job, factories=FACTORIES)

    with pytest.raises(ConfigError, match="changes the job"):
        redo(tmp_path / "out", "evidence.min_score=0.5")
    with pytest.raises(ConfigError, match="run.colour"):
        redo(tmp_path / "out", "run.colour=red")
    redo(tmp_path / "out", "run.batch_size=3")


def test_the_last_runs_settings_are_kept_but_for_the_cluster_that_it_worked_on(
    tmp_path: Path, job: JobConfig
) -> None:
    """Whoever may write to the output could otherwise have a retry send our code to a cluster of theirs."""
    planted = {"address": "10.0.0.1:6379", "allow_unauthenticated": True, "batch_size": 3}
    label(job.model_copy(update={"run": job.run.model_copy(update=planted)}), factories=FACTORIES)

    redo(tmp_path / "out")

    told = load_latest_progress(open_store(str(tmp_path / "out")))
    assert told is not None and told.settings.batch_size == 3
    assert (told.settings.address, told.settings.allow_unauthenticated) == (None, False)


def test_another_teacher_is_refused_before_anything_is_published(tmp_path: Path, job: JobConfig) -> None:
    label(job, factories=FACTORIES)
    before = status(str(tmp_path / "out"))
    (tmp_path / "teacher.json").write_text('{"channel_gain": 0.5}')

    with pytest.raises(ConflictError, match="3 committed units were made with other inputs, another teacher"):
        redo(tmp_path / "out")
    assert status(str(tmp_path / "out")) == before


def test_a_subset_is_redone_from_the_output_alone(tmp_path: Path, job: JobConfig) -> None:
    (tmp_path / "keys.txt").write_text("00001\n00002\n")
    chosen = job.model_copy(
        update={"input": job.input.model_copy(update={"only": str(tmp_path / "keys.txt")})}
    )
    label(chosen, factories=FACTORIES)
    (tmp_path / "keys.txt").unlink()
    write_shard(tmp_path / "missing.tar", plain_captions(5))

    summary, _ = redo(tmp_path / "out")

    assert summary["samples"]["labelled"] == 4 and summary["units"]["failed"] == 1
