from __future__ import annotations

from pathlib import Path

import pytest

import engine.ledger.snapshots.publisher
from engine.ledger.fingerprint import MethodDigests
from engine.ledger.plan import JobPlan
from engine.ledger.snapshots.snapshots import (
    latest_snapshot,
    read_snapshot,
    snapshot_entries,
    snapshot_path,
    snapshot_versions,
)
from engine.storage.store import Store, open_store
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import DataFile, FailedUnit, SampleCounts, ShardFacts, SnapshotEntry, Unit
from tests.engine.worlds import list_units, publish

METHOD = MethodDigests(reading="sha256:r", teacher="sha256:t", phrases="sha256:p", evidence="sha256:e")
OTHER = MethodDigests(reading="sha256:r", teacher="sha256:NEW", phrases="sha256:p", evidence="sha256:e")


def plan_of(
    shards: int = 2, method: MethodDigests = METHOD, job: str = "sha256:job", cut: bool = True
) -> JobPlan:
    plan = JobPlan(job, method, 4, [f"s3://b/{number}.tar" for number in range(shards)])
    for url in plan.shards if cut else ():
        plan.split_shard(ShardFacts(url=url, size_bytes=1, version="v", sha256="ab", samples=7))
    return plan


def entry(plan: JobPlan, unit: Unit) -> SnapshotEntry:
    return SnapshotEntry(
        unit=unit.name,
        fingerprint=plan.parts(unit).fingerprint(),
        shard=unit.shard,
        counts=SampleCounts(samples_in=unit.count, labelled=unit.count, empty=0),
        regions=unit.count,
        evidence=DataFile(path="data/x", size_bytes=1, sha256="00", rows=unit.count),
        rejections=None,
        rows_digest=f"sha256:{unit.name}",
    )


def entries(plan: JobPlan) -> list[SnapshotEntry]:
    return [entry(plan, unit) for unit in list_units(plan)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_versions_count_up_and_never_change(store: Store) -> None:
    plan = plan_of()
    first = publish(store, plan, entries(plan)[:1], [])
    before = store.read(snapshot_path(1))

    second = publish(store, plan, entries(plan), [])

    assert (first.version, second.version, snapshot_versions(store)) == (1, 2, [1, 2])
    assert store.read(snapshot_path(1)) == before
    assert latest_snapshot(store) == second
    assert [*snapshot_entries(store, second)] == sorted(entries(plan), key=lambda item: item.unit)


def test_nothing_new_is_nothing_written(store: Store) -> None:
    plan = plan_of()
    publish(store, plan, entries(plan), [])

    assert publish(store, plan, reversed(entries(plan)), []).version == 1
    assert snapshot_versions(store) == [1]


def test_an_output_without_a_snapshot_is_said_to_be_none(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no snapshot"):
        latest_snapshot(store)


def test_a_publisher_that_knows_less_takes_nothing_away(store: Store) -> None:
    plan = plan_of()
    publish(store, plan, entries(plan), [])

    late = publish(store, plan_of(), entries(plan)[:1], [])

    assert late.totals.units == 4


def test_two_publishers_of_one_version_are_united(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    all_entries = entries(plan)
    put = engine.ledger.snapshots.publisher.put_record
    rival_done = []

    def rival_first(where: Store, path: str, record) -> bytes:
        if not rival_done:
            rival_done.append(True)
            publish(where, plan, all_entries[2:], [])
        return put(where, path, record)

    monkeypatch.setattr(engine.ledger.snapshots.publisher, "put_record", rival_first)
    mine = publish(store, plan, all_entries[:2], [])

    assert (mine.version, mine.totals.units, snapshot_versions(store)) == (2, 4, [1, 2])


def test_the_job_asked_for_decides_which_commits_count(store: Store) -> None:
    old, new = plan_of(), plan_of(method=OTHER, job="sha256:other")
    publish(store, old, entries(old), [])

    begun = publish(store, new, [], [])

    assert (begun.totals.units, begun.planned) == (0, 4)
    assert read_snapshot(store, 1).totals.units == 4


def test_a_shard_not_read_yet_counts_as_one_unit_or_as_its_commits(store: Store) -> None:
    plan = plan_of()
    publish(store, plan, entries(plan)[:2], [])

    resumed = publish(store, plan_of(cut=False), [], [])

    assert (resumed.totals.units, resumed.planned) == (2, 3)


def test_a_failed_unit_that_is_committed_after_all_is_not_failed(store: Store) -> None:
    plan = plan_of()
    done = entries(plan)
    fates = [
        FailedUnit(unit=item.unit, shard=item.shard, code="STORE_ERROR", detail="x") for item in done[:2]
    ]

    snapshot = publish(store, plan, done[1:], fates)

    assert [fate.unit for fate in snapshot.failed] == [done[0].unit]


def test_a_commit_that_does_not_add_up_is_not_published(store: Store) -> None:
    plan = plan_of()
    good = entries(plan)
    bad = good[0].model_copy(update={"evidence": DataFile(path="data/x", size_bytes=1, sha256="00", rows=1)})

    with pytest.raises(ValueError, match="1 evidence rows and 0 rejections, but 4 samples"):
        publish(store, plan, [bad, *good[1:]], [])

    assert snapshot_versions(store) == []


def test_more_than_was_planned_is_not_published(store: Store) -> None:
    plan = plan_of()
    stranger = FailedUnit(unit="0" * 16 + "-00000000", shard="s3://b/9.tar", code="X", detail="")

    with pytest.raises(ValueError, match="only 4 planned"):
        publish(store, plan, entries(plan), [stranger])


def test_a_damaged_snapshot_is_a_conflict(store: Store, tmp_path: Path) -> None:
    plan = plan_of()
    publish(store, plan, entries(plan), [])
    path = tmp_path / snapshot_path(1)
    whole = path.read_bytes()
    for change, words in (
        ((b'"planned":4', b'"planned":"x"'), "cannot be read"),
        ((b'"digest":"sha256:', b'"digest":"sha257:'), "digest"),
        ((b'"regions":14', b'"regions":15'), "totals are not those"),
        ((b'"planned":4', b'"planned":3'), "only 3 planned"),
        ((b'"format_version":"2.0"', b'"format_version":"1.0"'), "move snapshots/ away"),
    ):
        path.write_bytes(whole.replace(*change, 1))
        assert path.read_bytes() != whole
        with pytest.raises(ConflictError, match=words):
            latest_snapshot(store)
    path.write_bytes(b"[1]")
    with pytest.raises(ConflictError, match="has format None"):
        latest_snapshot(store)
