from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.driver.label_run import LabelRun
from engine.ledger.evidence import evidence_rows
from engine.ledger.fingerprint import MethodDigests
from engine.ledger.plan import JobPlan
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries, snapshot_versions
from engine.ledger.snapshots.status import status
from engine.ledger.verify import verify
from engine.reading.shard_cache import stat_shard
from engine.storage.store import open_store
from engine.task import Outcome, Task
from pipelines.label.job import JobConfig
from pipelines.label.plan.plan import plan
from pipelines.label.run import label
from schemas.errors import ConfigError, ConflictError, NotFoundError, RuntimeEnvironmentError
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import data_files, job_of, plain_captions, tar_bytes, write_shard


def run(job: JobConfig, **options: object) -> dict:
    return label(job, factories=FACTORIES, **options)


def rows_of(job: JobConfig) -> list[dict]:
    store = open_store(job.output.url)
    return list(evidence_rows(store, latest_snapshot(store)))


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [write_shard(tmp_path / f"{n}.tar", plain_captions(20)) for n in range(2)]


def test_every_sample_of_a_job_is_accounted_for(tmp_path: Path, shards: list[Path]) -> None:
    summary = run(job_of(tmp_path, shards))

    assert summary["units"] == {"planned": 6, "committed": 6, "failed": 0, "pending": 0, "quarantined": 0}
    assert summary["samples"] == {"in": 40, "labelled": 40, "empty": 0, "rejected": {}}
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", summary["digest"])
    assert {name: summary[name] for name in status(str(tmp_path / "out"))} == status(str(tmp_path / "out"))
    assert verify(str(tmp_path / "out"))["digest"] == summary["digest"]


def test_labeling_again_redoes_and_writes_nothing(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards)
    first = run(job)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    (tmp_path / "teacher.json").write_text('{"sleep_s": 99}')

    again = run(job)

    assert again == first
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()
    } == before
    assert not plan(job, FACTORIES).has_work


def test_a_touched_shard_is_read_again_but_not_redone(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards)
    first = run(job)
    os.utime(shards[0], ns=(1, 1))
    before = data_files(tmp_path / "out")

    assert plan(job, FACTORIES).totals()["shards_unread"] == 1
    again = run(job)

    assert again["digest"] == first["digest"]
    assert data_files(tmp_path / "out") == before
    assert len(list((tmp_path / "out" / "commits").rglob("*.json"))) == 6


def test_another_teacher_redoes_every_unit_and_plan_gives_the_reason(
    tmp_path: Path, shards: list[Path]
) -> None:
    job = job_of(tmp_path, shards)
    first = run(job)
    (tmp_path / "teacher.json").write_text('{"channel_gain": 0.5}')

    report = plan(job, FACTORIES)
    again = run(job)

    assert [shard.why for shard in report.shards] == [{"the teacher changed": 3}] * 2
    assert "6 units: the teacher changed" in report.text()
    assert again["units"]["committed"] == 6
    assert len(list((tmp_path / "out" / "commits").rglob("*.json"))) == 12
    assert first["snapshot"] < again["snapshot"]


def test_changed_settings_redo_and_say_so(tmp_path: Path, shards: list[Path]) -> None:
    run(job_of(tmp_path, shards))

    report = plan(job_of(tmp_path, shards, evidence={"min_score": 0.2}), FACTORIES)

    assert [shard.why for shard in report.shards] == [{"the evidence settings changed": 3}] * 2


def test_another_run_section_redoes_nothing(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards)
    run(job)
    other = job_of(tmp_path, shards, run={"batch_size": 2, "actors": {"min": 2, "max": 2}})

    assert other.digest() == job.digest()
    assert not plan(other, FACTORIES).has_work


def test_one_replaced_shard_redoes_its_units_alone(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards)
    run(job)
    write_shard(shards[1], plain_captions(12))

    summary = run(job)

    assert summary["units"] == {"planned": 5, "committed": 5, "failed": 0, "pending": 0, "quarantined": 0}
    assert summary["samples"]["in"] == 32
    verify(str(tmp_path / "out"))


@pytest.mark.parametrize("change", ["cut", "removed"])
def test_evidence_of_bytes_that_can_no_longer_be_read_does_not_count(
    tmp_path: Path, shards: list[Path], change: str
) -> None:
    job = job_of(tmp_path, shards)
    run(job)
    if change == "cut":
        shards[1].write_bytes(shards[1].read_bytes()[:4096])
    else:
        shards[1].unlink()

    summary = run(job)

    assert summary["units"] == {"planned": 4, "committed": 3, "failed": 1, "pending": 0, "quarantined": 0}
    assert summary["samples"]["in"] == 20


def test_a_later_shard_is_added_to_what_is_done(tmp_path: Path, shards: list[Path]) -> None:
    run(job_of(tmp_path, shards[:1]))

    report = plan(job_of(tmp_path, shards), FACTORIES)
    summary = run(job_of(tmp_path, shards))

    assert [(shard.units, shard.done) for shard in report.shards] == [(3, 3), (None, 0)]
    assert summary["samples"]["in"] == 40


def test_damaged_and_missing_shards_fail_by_name_and_the_rest_is_published(
    tmp_path: Path, shards: list[Path]
) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(shards[0].read_bytes()[:2048])
    job = job_of(tmp_path, [*shards, cut, tmp_path / "missing.tar"])

    summary = run(job)

    assert summary["units"] == {"planned": 8, "committed": 6, "failed": 2, "pending": 0, "quarantined": 0}
    assert {failure["code"]: failure["shard"] for failure in summary["failures"]} == {
        "SHARD_TRUNCATED": str(cut),
        "SHARD_MISSING": str(tmp_path / "missing.tar"),
    }
    cut.write_bytes(shards[0].read_bytes())
    assert run(job)["units"]["failed"] == 1


def test_a_broken_teacher_commits_nothing_and_fails_its_units(tmp_path: Path) -> None:
    good = write_shard(tmp_path / "a.tar", plain_captions(4))
    bad = write_shard(tmp_path / "b.tar", [f"{caption} explode" for caption in plain_captions(4)])

    summary = run(job_of(tmp_path, [good, bad]))

    assert (summary["units"]["committed"], summary["units"]["failed"]) == (1, 1)
    assert summary["failures"][0]["code"] == "TEACHER_ERROR"


def test_a_limit_labels_so_many_samples_and_leaves_nothing_behind(
    tmp_path: Path, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    job = job_of(tmp_path, shards)

    summary = run(job, limit=26)

    assert (summary["samples"]["in"], summary["units"]["planned"], summary["units"]["pending"]) == (26, 4, 0)
    assert summary["output"] is None and not (tmp_path / "out").exists()
    assert run(job, limit=1)["samples"]["in"] == 1
    assert run(job, limit=1_000)["samples"]["in"] == 40
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_limits_output_may_be_kept_elsewhere_than_the_jobs_own(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards)

    summary = run(job, limit=3, keep=str(tmp_path / "trial"))

    assert summary["output"] == str(tmp_path / "trial")
    assert verify(str(tmp_path / "trial"))["samples"]["in"] == 3
    with pytest.raises(ConfigError, match="is the output.url of the job"):
        run(job, limit=3, keep=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="--limit"):
        run(job, keep=str(tmp_path / "trial"))


def test_a_limits_output_never_goes_over_the_evidence_of_another_job(
    tmp_path: Path, shards: list[Path]
) -> None:
    job, other = job_of(tmp_path, shards), job_of(tmp_path, shards, evidence={"min_score": 0.2})
    kept = str(tmp_path / "trial")
    before = run(job, limit=3, keep=kept)["digest"]

    with pytest.raises(ConflictError, match="evidence of another job"):
        run(other, limit=3, keep=kept)
    assert run(job, limit=3, keep=kept)["digest"] == before == status(kept)["digest"]


def test_a_plan_counts_units_and_samples_and_names_teacher_and_phrases(
    tmp_path: Path, shards: list[Path]
) -> None:
    run(job_of(tmp_path, shards[:1]))
    write_shard(shards[0], plain_captions(5))

    data = plan(job_of(tmp_path, shards), FACTORIES).data()

    assert data["has_work"] and data["why"] == {
        "the shard changed since it was read, so it is to be read first": 1,
        "the shard is to be read first": 1,
    }
    assert data["phrases"] == "sha256:small-finder-1" and data["teacher"].startswith("sha256:")
    run(job_of(tmp_path, shards))
    data = plan(job_of(tmp_path, shards, evidence={"min_score": 0.2}), FACTORIES).data()
    assert data["why"] == {"the evidence settings changed": 4}
    assert data["totals"] == {
        "shards": 2,
        "shards_missing": 0,
        "shards_unread": 0,
        "size_bytes": sum(path.stat().st_size for path in shards),
        "units_known": 4,
        "units_done": 0,
        "units_to_do": 4,
        "samples_known": 25,
        "samples_to_do": 25,
    }


def test_evidence_that_went_to_another_machines_disk_is_not_taken_for_done(
    tmp_path: Path, shards: list[Path]
) -> None:
    job = job_of(tmp_path, shards)
    run(job)
    store = open_store(job.output.url)
    entry = next(snapshot_entries(store, latest_snapshot(store)))
    (tmp_path / "out" / entry.evidence.path).unlink()
    plan_of_none = JobPlan("sha256:j", MethodDigests("r", "t", "p", "e"), 8, [])
    work = LabelRun(store, plan_of_none, job.input)
    task = Task(shard=stat_shard(str(shards[0])))

    with pytest.raises(RuntimeEnvironmentError, match="wrote to its own disk"):
        work.settle(Outcome(task=task, entry=entry))


def test_an_empty_shard_is_an_empty_unit(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes([]))

    summary = run(job_of(tmp_path, [tmp_path / "a.tar"]))

    assert (summary["units"]["committed"], summary["samples"]["in"]) == (1, 0)


def test_a_relative_job_is_the_same_from_its_folder(
    tmp_path: Path, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(job_of(tmp_path, shards))
    monkeypatch.chdir(tmp_path)

    summary = run(job_of(tmp_path, ["*.tar"], output={"url": "other"}, teacher={"model": "teacher.json"}))

    assert summary["digest"] == first["digest"]
    assert data_files(tmp_path / "other") == data_files(tmp_path / "out")


def test_progress_ends_with_everything_done(tmp_path: Path, shards: list[Path]) -> None:
    seen: list[tuple[str, int, int]] = []

    run(job_of(tmp_path, shards), progress=lambda *step: seen.append(step))

    assert seen[-1] == ("units", 6, 6)


def test_the_job_and_the_plan_are_recorded_in_the_output_without_secrets(
    tmp_path: Path, shards: list[Path]
) -> None:
    job = job_of(tmp_path, shards, input={"storage": {"profile": "my-profile"}})
    run(job)

    kept = json.loads(next((tmp_path / "out" / "jobs").iterdir()).read_text())
    frozen = json.loads(next((tmp_path / "out" / "plans").iterdir()).read_text())

    assert kept["job"]["evidence"]["min_score"] == 0.05 and kept["digest"] == job.digest()
    assert [shard["url"] for shard in frozen["shards"]] == [str(path) for path in shards]
    assert "my-profile" not in json.dumps([kept, frozen])


def damage_data(output: Path) -> None:
    path = next((output / "data").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])


def damage_commit(output: Path) -> None:
    path = next((output / "commits").rglob("*.json"))
    path.write_text(path.read_text().replace('"regions":', '"regions":1'))


def remove_commit(output: Path) -> None:
    next((output / "commits").rglob("*.json")).unlink()


def remove_data(output: Path) -> None:
    next((output / "data").rglob("*.parquet")).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_data, "bytes with sha256"),
        (damage_commit, "differ"),
        (remove_commit, "commit record is gone"),
        (remove_data, "is missing although a commit refers to it"),
    ],
)
def test_verify_names_what_does_not_hold(
    tmp_path: Path, shards: list[Path], damage: Callable[[Path], None], words: str
) -> None:
    run(job_of(tmp_path, shards))
    damage(tmp_path / "out")

    with pytest.raises(ConflictError, match=words):
        verify(str(tmp_path / "out"))


def test_verify_counts_every_problem_and_words_the_first_of_many(
    tmp_path: Path, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.ledger.verify.SHOWN", 1)
    run(job_of(tmp_path, shards))
    data = list((tmp_path / "out" / "data").rglob("*.parquet"))
    for path in data:
        path.unlink()

    with pytest.raises(ConflictError) as caught:
        verify(str(tmp_path / "out"))

    said = str(caught.value)
    assert len(data) > 1 and f"{len(data)} problems" in said and said.count("is missing although") == 1
    assert said.endswith(f"... and {len(data) - 1} more")


def test_a_verb_that_is_given_an_output_alone_reaches_its_bucket_through_the_environment(
    tmp_path: Path, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket() as (url, storage):
        output = {"url": f"{url}/out", "storage": storage.model_dump()}
        summary = run(job_of(tmp_path, shards[:1], output=output))
        monkeypatch.setenv("AWS_ENDPOINT_URL", str(storage.endpoint_url))

        assert verify(f"{url}/out")["digest"] == status(f"{url}/out")["digest"] == summary["digest"]


def test_a_folder_without_an_output_is_reported_as_such(tmp_path: Path) -> None:
    for look in (status, verify):
        with pytest.raises(NotFoundError, match="has no snapshot"):
            look(str(tmp_path))


def test_the_real_photographs_are_all_accounted_for(tmp_path: Path, shared_data: Path) -> None:
    web = shared_data / "real_web"
    summary = run(
        job_of(tmp_path, [f"{web}/{{00000..00002}}.tar"], input={"unit_samples": 100, "keep": ["source"]})
    )

    assert summary["samples"]["in"] == 486 == summary["samples"]["labelled"] + summary["samples"]["empty"]
    assert summary["samples"]["rejected"] == {}
    rows = rows_of(job_of(tmp_path, ["x"]))
    assert all(json.loads(row["meta"])["source"] and row["license"] and row["original_width"] for row in rows)
    verify(str(tmp_path / "out"))


def test_parquet_gives_the_same_regions_as_tar(tmp_path: Path, shared_data: Path) -> None:
    tar_job = job_of(tmp_path, [f"{shared_data}/real_web/{{00000..00002}}.tar"], input={"unit_samples": 100})
    table = {"format": "parquet", "unit_samples": 25}
    table_job = job_of(
        tmp_path,
        [f"{shared_data}/real_web_parquet/*.parquet"],
        input=table,
        output={"url": f"{tmp_path}/two"},
    )
    run(tar_job)
    run(table_job)
    by_image = {(row["image_sha256"], row["caption"]): row for row in rows_of(tar_job)}

    rows = rows_of(table_job)

    assert len(rows) == 120
    same = ("phrases", "regions", "width", "height", "source_url", "source_sha256", "license")
    for row in rows:
        twin = by_image[(row["image_sha256"], row["caption"])]
        assert [row[name] for name in same] == [twin[name] for name in same]


def test_publishing_more_often_changes_no_row(
    tmp_path: Path, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = run(job_of(tmp_path, shards))
    monkeypatch.setattr("engine.driver.label_run.PUBLISH_EVERY_S", -1.0)
    monkeypatch.setattr("engine.driver.label_run.PAUSE_PER_PUBLISH", 0)
    often = run(job_of(tmp_path, shards, output={"url": str(tmp_path / "often")}))

    assert often["digest"] == seldom["digest"]
    assert len(snapshot_versions(open_store(str(tmp_path / "often")))) > 2
