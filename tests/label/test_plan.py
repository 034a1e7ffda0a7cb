"""Plans: which samples and shards, how long, at what cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.ledger.evidence import evidence_rows, read_rejections
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.verify import verify
from engine.settings import RunSettings
from engine.storage.store import open_store
from pipelines.cli.status_text import format_summary
from pipelines.label.job import JobConfig
from pipelines.label.plan.estimate import Figure, Workload, estimate
from pipelines.label.plan.plan import plan
from pipelines.label.prices import PriceSettings
from pipelines.label.run import label
from pipelines.label.run_records import load_plan
from schemas.errors import ConfigError, ConflictError, NotFoundError
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


def run(job: JobConfig, **options: object) -> dict:
    return label(job, factories=FACTORIES, **options)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [write_shard(tmp_path / f"{n}.tar", plain_captions(20)) for n in range(2)]


def only(tmp_path: Path, *keys: str) -> dict[str, str]:
    (tmp_path / "keys.txt").write_text("\n".join(keys))
    return {"only": str(tmp_path / "keys.txt")}


def test_a_subset_labels_its_keys_and_accounts_for_all_others(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards, input=only(tmp_path, "00003", "00019", "not there"))

    summary = run(job)

    assert summary["selection"]["keys"] == 3 and "found 4 samples of the 3 keys" in format_summary(summary)
    assert summary["samples"] == {"in": 40, "labelled": 4, "empty": 0, "rejected": {"NOT_SELECTED": 36}}
    assert verify(str(tmp_path / "out"))["digest"] == summary["digest"]
    store = open_store(str(tmp_path / "out"))
    rows = list(evidence_rows(store, latest_snapshot(store)))
    assert sorted(row["key"] for row in rows) == ["00003", "00003", "00019", "00019"]
    whole = job_of(tmp_path, shards, output={"url": str(tmp_path / "whole")})
    run(whole)
    elsewhere = open_store(str(tmp_path / "whole"))
    of_all = {(row["shard"], row["key"]): row for row in evidence_rows(elsewhere, latest_snapshot(elsewhere))}
    assert all(of_all[row["shard"], row["key"]] == row for row in rows)


def test_another_subset_is_another_fingerprint_and_the_same_one_is_done(
    tmp_path: Path, shards: list[Path]
) -> None:
    run(job_of(tmp_path, shards, input=only(tmp_path, "00003")))
    (tmp_path / "other.txt").write_text("00003\n\n")

    same = job_of(tmp_path, shards, input={"only": str(tmp_path / "other.txt")})
    assert not plan(same, FACTORIES).has_work
    report = plan(job_of(tmp_path, shards, input=only(tmp_path, "00003", "00004")), FACTORIES)
    assert report.reasons() == {"the choice of samples changed": 6}


def test_the_spelling_of_texts_is_american_and_that_of_json_is_as_stored(
    tmp_path: Path, shards: list[Path]
) -> None:
    job = job_of(tmp_path, shards)
    summary = run(job)
    report = plan(job, FACTORIES)
    shard = report.shards[0].model_copy(update={"why": {"not labelled yet": 2}})
    unlabeled = report.model_copy(update={"shards": (shard,)})

    assert summary["samples"]["labelled"] == 40 and re.search(
        r"^  labeled +40$", format_summary(summary), re.M
    )
    assert unlabeled.data()["why"] == {"not labelled yet": 2}
    assert "  2 units: not labeled yet" in unlabeled.text().splitlines()


def test_shards_without_a_selected_key_are_left_out_and_counted(tmp_path: Path, shards: list[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"key": ["00001"], "shard": ["1.tar"]}), tmp_path / "keys.parquet")
    job = job_of(tmp_path, shards, input={"only": str(tmp_path / "keys.parquet")})

    report, summary = plan(job, FACTORIES), run(job)

    assert report.selection is not None and report.selection["shards_left_out"] == 1
    assert report.selection["keys"] == 1 and "1 keys are selected" in report.text()
    assert summary["samples"] == {"in": 20, "labelled": 1, "empty": 0, "rejected": {"NOT_SELECTED": 19}}
    store = open_store(str(tmp_path / "out"))
    rejected = [
        row
        for e in snapshot_entries(store, latest_snapshot(store))
        for row in read_rejections(store, e).to_pylist()
    ]
    assert {row["code"] for row in rejected} == {"NOT_SELECTED"} and len(rejected) == 19


def test_a_list_of_shards_is_a_job(tmp_path: Path, shards: list[Path]) -> None:
    (tmp_path / "shards.txt").write_text("".join(f"{path}\n" for path in shards))

    assert run(job_of(tmp_path, [f"@{tmp_path}/shards.txt"]))["samples"]["in"] == 40


def written(report, path: Path) -> str:
    path.write_text(json.dumps(report.file()))
    return str(path)


def test_a_frozen_plan_runs_as_it_was_made(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, [tmp_path / "*.tar"])
    file = written(plan(job, FACTORIES), tmp_path / "plan.json")
    write_shard(tmp_path / "later.tar", plain_captions(3))  # the glob would find it
    store = open_store(str(tmp_path / "out"))

    summary = run(job, frozen=load_plan(file, store))

    assert summary["samples"]["in"] == 40
    digest = json.loads(Path(file).read_text())["plan_digest"]
    assert run(job, frozen=load_plan(digest, store)) == summary
    assert run(job)["samples"]["in"] == 43


def touch_shard(tmp_path: Path, job: JobConfig) -> JobConfig:
    write_shard(tmp_path / "1.tar", plain_captions(7))
    return job


def remove_shard(tmp_path: Path, job: JobConfig) -> JobConfig:
    (tmp_path / "1.tar").unlink()
    return job


def change_teacher(tmp_path: Path, job: JobConfig) -> JobConfig:
    (tmp_path / "teacher.json").write_text('{"channel_gain": 0.5}')
    return job


def change_job(tmp_path: Path, job: JobConfig) -> JobConfig:
    return job_of(tmp_path, job.input.urls, evidence={"min_score": 0.3})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (touch_shard, r"1.tar changed"),
        (remove_shard, r"1.tar is missing"),
        (change_teacher, "the teacher is another one"),
        (change_job, "the job is another one"),
    ],
)
def test_an_outdated_frozen_plan_is_refused(tmp_path: Path, shards: list[Path], change, words: str) -> None:
    job = job_of(tmp_path, shards)
    frozen = plan(job, FACTORIES).plan

    with pytest.raises(ConflictError, match=words):
        run(change(tmp_path, job), frozen=frozen)
    assert not (tmp_path / "out" / "commits").exists()


def test_a_plan_that_is_none_is_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    (tmp_path / "plan.json").write_text('{"shards": 3}')

    with pytest.raises(ConfigError, match="is not a plan"):
        load_plan(str(tmp_path / "plan.json"), store)
    with pytest.raises(NotFoundError, match="no such file, and no plans/0123"):
        load_plan("sha256:0123", store)


RUN = RunSettings(gpus_per_actor=0.5, cpus_per_actor=2, actors={"min": 1, "max": 4})
LOAD = Workload(
    samples=36_000, bytes_in=5 * 10**9, rate=Figure(10, "assumed"), bytes_per_sample=Figure(1000, "assumed")
)


def test_hours_and_money_by_hand() -> None:
    prices = PriceSettings(gpu_hour={"h100": 3.0}, cpu_hour=0.1, storage_gb_month=2, egress_gb=0.5)

    found = estimate(LOAD, RUN, prices)

    assert (found["hours"], found["gpu_hours"], found["cpu_hours"]) == pytest.approx((0.25, 0.5, 2))
    assert found["bytes_out"] == 36_000_000
    bill = found["cost"]
    assert [bill[name] for name in ("gpu", "cpu", "egress", "storage_month")] == pytest.approx(
        [1.5, 0.2, 2.5, 0.072]
    )
    assert bill["total"] == pytest.approx(4.272) and bill["left_out"] == []


def test_unknown_numbers_are_null_and_named() -> None:
    two = PriceSettings(gpu_hour={"a": 1, "b": 2}, cpu_hour=0.1)
    unknown = Workload(samples=None, bytes_in=0, rate=None, bytes_per_sample=Figure(1000, "assumed"))

    assert estimate(LOAD, RUN, two)["cost"]["gpu"] is None
    assert "gpu" in estimate(LOAD, RUN, two)["cost"]["left_out"]
    assert estimate(LOAD, RUN, two.model_copy(update={"gpu": "b"}))["cost"]["gpu"] == 1.0
    nothing = estimate(unknown, RUN, two)
    assert (nothing["hours"], nothing["bytes_out"], nothing["cost"]["total"]) == (None, None, None)
    with pytest.raises(ValueError, match="has no price"):
        PriceSettings(gpu_hour={"a": 1}, gpu="c")


def test_an_estimate_names_its_sources(tmp_path: Path, shards: list[Path]) -> None:
    job = job_of(tmp_path, shards)
    unread = plan(job, FACTORIES)
    assert unread.estimate["samples"] is None and "plan --measure" in unread.text()

    trial = plan(job, FACTORIES, measure=10).estimate

    assert not (tmp_path / "out").exists()
    assert trial["images_per_s"]["source"].startswith("measured on 10 samples")
    assert trial["bytes_per_sample"]["source"].startswith("measured")
    assert (trial["samples"], trial["samples_guessed_from_sizes"]) == (40, 40)
    assumed = plan(job, FACTORIES, images_per_s=40, measure=10)
    assert assumed.estimate["images_per_s"] == {"value": 40, "source": "assumed"}
    assert assumed.estimate["cpu_hours"] == pytest.approx(1 / 3600)
    assert "40 of them guessed from sizes" in assumed.text()


def test_later_plans_know_what_this_outputs_runs_showed(tmp_path: Path, shards: list[Path]) -> None:
    run(job_of(tmp_path, shards[:1]))

    found = plan(job_of(tmp_path, shards), FACTORIES).estimate

    assert (found["samples"], found["samples_guessed_from_sizes"]) == (20, 20)
    assert "of this output" in found["images_per_s"]["source"] and found["images_per_s"]["value"] > 0
    assert found["bytes_per_sample"]["source"] == "this output, 20 samples"
