"""A driver with rivals, with earlier attempts, and with unread shards."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

import engine.driver.label_run
from engine.driver.label_run import LabelRun
from engine.ledger.attempts import begin_attempt, list_attempts
from engine.ledger.commits import commit_path
from engine.ledger.epochs import claim_epoch, latest_epoch, read_epoch
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.verify import verify
from engine.storage.store import Store, open_store
from pipelines.cli import build_app
from pipelines.label.job import JobConfig
from pipelines.label.plan.plan import plan
from pipelines.label.run import label
from schemas.errors import ConflictError, RuntimeEnvironmentError
from schemas.ledger import Snapshot
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


@pytest.fixture
def job(tmp_path: Path) -> JobConfig:
    return job_of(tmp_path, [write_shard(tmp_path / f"{n}.tar", plain_captions(24)) for n in range(2)])


def run(job: JobConfig) -> dict:
    return label(job, factories=FACTORIES)


class Interfering:
    """Does something as soon as a number of units is committed."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int, act) -> None:
        self.commits, whole = 0, Store.put_if_absent

        def put_if_absent(store: Store, path: str, data: bytes) -> bool:
            created = whole(store, path, data)
            self.commits += path.startswith("commits/")
            if self.commits == after and path.startswith("commits/"):
                act(open_store(store.url))
            return created

        patch.setattr(Store, "put_if_absent", put_if_absent)


def test_a_run_claims_an_epoch_and_one_without_work_claims_none(job: JobConfig) -> None:
    run(job)
    run(job)

    store = open_store(job.output.url)
    claim = read_epoch(store, 1)
    assert claim is not None and (claim.purpose, claim.job) == ("label", job.digest())
    assert latest_epoch(store) == 1
    names = [(e.unit, e.fingerprint) for e in snapshot_entries(store, latest_snapshot(store))]
    assert {(len(list_attempts(store, *name)), list_attempts(store, *name)[0].epoch) for name in names} == {
        (1, 1)
    }


def test_the_first_error_of_a_run_is_reported_before_that_of_its_last_publish(
    job: JobConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teacher.json").write_text('{"refuse": true}')
    publish, calls = LabelRun.publish, itertools.count()

    def publishes_once(work: LabelRun) -> Snapshot:
        if next(calls):
            raise OSError("the disk went away")
        return publish(work)

    monkeypatch.setattr(LabelRun, "publish", publishes_once)

    with pytest.raises(RuntimeEnvironmentError, match="no such accelerator") as caught:
        run(job)

    assert caught.value.__notes__ == ["and then OSError: the disk went away"]


def test_a_run_that_a_later_job_took_over_ends_in_a_conflict_that_names_it(
    job: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as patch,
        pytest.raises(ConflictError, match="epoch 2 of another job") as caught,
    ):
        Interfering(patch, 3, lambda store: claim_epoch(store, "label", "sha256:other"))
        run(job)

    assert caught.value.exit_code == 5
    assert run(job)["units"]["committed"] == 6  # what was committed stays, and a later start goes on
    assert latest_epoch(open_store(job.output.url)) == 3


def test_two_drivers_of_one_job_do_not_stop_each_other(
    job: JobConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rival = []
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        Interfering(patch, 3, lambda _: rival or (rival.append(True), rival.append(run(job))))
        ours = run(job)

    assert ours["digest"] == rival[1]["digest"]
    assert "work is done twice" in caplog.text
    verify(job.output.url)


def forget_snapshots_and_some_commits(job: JobConfig, keep: int) -> list[str]:
    """Leave what a dead driver leaves: a snapshot of one unit, and `keep` commits. Return the units in plan order."""
    store = open_store(job.output.url)
    entries = list(snapshot_entries(store, latest_snapshot(store)))
    for entry in entries[keep:]:
        store.delete(commit_path(entry.unit, entry.fingerprint))
    for path in store.list("snapshots"):
        if path != store.list("snapshots")[0]:
            store.delete(path)
    return [entry.unit for entry in entries]


@pytest.mark.parametrize("looked_up", [10_000, 0])
def test_commits_after_the_last_snapshot_are_found_by_the_driver_or_by_the_workers(
    job: JobConfig, monkeypatch: pytest.MonkeyPatch, looked_up: int
) -> None:
    first = run(job)
    forget_snapshots_and_some_commits(job, keep=4)
    monkeypatch.setattr(engine.driver.label_run, "MAX_LOOKUPS", looked_up)

    assert plan(job, FACTORIES).totals()["units_done"] == (4 if looked_up else 0)
    again = run(job)

    assert again["digest"] == first["digest"]
    store = open_store(job.output.url)
    entries = snapshot_entries(store, latest_snapshot(store))
    assert [len(list_attempts(store, e.unit, e.fingerprint)) for e in entries] == [1, 1, 1, 1, 2, 2]


def test_a_unit_with_many_attempts_is_begun_last(job: JobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run(job)
    store = open_store(job.output.url)
    entries = list(snapshot_entries(store, latest_snapshot(store)))
    names = forget_snapshots_and_some_commits(job, keep=0)
    for _ in range(2):
        begin_attempt(store, names[0], entries[0].fingerprint, 1, "a worker that died")
    assert plan(job, FACTORIES).reasons() == {
        "begun and not finished, attempts: 1": 5,
        "begun and not finished, attempts: 3": 1,
    }
    order: list[str] = []
    whole = Store.put_if_absent

    def noted(where: Store, path: str, data: bytes) -> bool:
        if path.startswith("commits/"):
            order.append(path.split("/")[1])
        return whole(where, path, data)

    monkeypatch.setattr(Store, "put_if_absent", noted)
    summary = run(job)

    assert summary["units"]["committed"] == 6
    assert order[-1] == names[0] and sorted(order) == names
    assert len(list_attempts(store, names[0], entries[0].fingerprint)) == 4


def test_clean_reports_what_it_deleted_and_verify_still_passes(job: JobConfig) -> None:
    run(job)
    store = open_store(job.output.url)
    folder = store.list("data")[0].rsplit("/", 1)[0]
    store.put(f"{folder}/0123456789abcdef.parquet", b"of an attempt that lost")
    store.put(f"data/{'0' * 16}-00000000/{'1' * 16}/{'2' * 16}.parquet", b"of a unit that is worked on")

    said = CliRunner().invoke(build_app(), ["clean", job.output.url, "--json"])

    assert (said.exit_code, json.loads(said.stdout)) == (
        0,
        {"deleted": [f"{folder}/0123456789abcdef.parquet"], "swept": [], "undecided": 1, "foreign": 0},
    )
    verify(job.output.url)
    assert CliRunner().invoke(build_app(), ["clean", f"{job.output.url}/nothing"]).exit_code == 4
