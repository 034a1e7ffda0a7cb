"""Segments and their digest: the same however commits are published, rebased and merged."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

import pytest

import engine.ledger.snapshots.publisher
import engine.ledger.snapshots.segments
from engine.ledger.fingerprint import Fingerprints, MethodDigests, build_parts
from engine.ledger.plan import JobPlan
from engine.ledger.snapshots.publisher import FAILED_LISTED, Publisher
from engine.ledger.snapshots.segments import FAN_OUT, Key, merge_small, segment_entries, write_segment
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import (
    failed_units,
    latest_snapshot,
    snapshot_entries,
    snapshot_versions,
)
from engine.storage.safe_parquet import table_bytes
from engine.storage.store import Store, open_store
from schemas.arrow import REJECTIONS
from schemas.digests import digest_of
from schemas.errors import ConflictError
from schemas.ledger import DataFile, FailedUnit, SampleCounts, Segment, ShardFacts, SnapshotEntry, Unit
from tests.engine.worlds import list_units, publish

METHODS = [MethodDigests(f"sha256:{name}", "sha256:t", "sha256:p", "sha256:e") for name in "ab"]
SHARDS = [f"s3://b/{number}.tar" for number in range(3)]


def facts(url: str, version: str = "00") -> ShardFacts:
    return ShardFacts(url=url, size_bytes=1, version=version, sha256=version, samples=14)


def plan_of(
    method: MethodDigests = METHODS[0], version: str = "00", cut: bool = True, job: str = "j"
) -> JobPlan:
    plan = JobPlan(job, method, 2, SHARDS)
    for url in SHARDS if cut else ():
        plan.split_shard(facts(url, version))
    return plan


def entry(plan: JobPlan, unit: Unit) -> SnapshotEntry:
    """Return the entry of a unit's commit under a plan, the same for every writer."""
    refused = unit.first % 3 == 0
    file = DataFile(path=f"data/{unit.name}", size_bytes=9, sha256="0" * 64, rows=unit.count - refused)
    fingerprint = plan.fingerprint(unit)
    return SnapshotEntry(
        unit=unit.name,
        fingerprint=fingerprint,
        shard=unit.shard,
        counts=SampleCounts(
            samples_in=unit.count,
            labelled=unit.count - refused,
            empty=0,
            rejected={"CRASH": 1} if refused else {},
        ),
        regions=3,
        evidence=file,
        rejections=file.model_copy(update={"rows": 1}) if refused else None,
        rows_digest=digest_of([unit.name, fingerprint]),
        quarantined=refused,
    )


def entries(plan: JobPlan) -> list[SnapshotEntry]:
    return [entry(plan, unit) for unit in list_units(plan)]


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


class Driver:
    """A driver with its own method, shard version and knowledge of shards."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.plan = plan_of(chance.choice(METHODS), cut=False)
        self.version = chance.choice(["00", "11"])
        for url in chance.sample(SHARDS, chance.randint(0, 3)):
            self.plan.split_shard(facts(url, self.version))
        self.publisher = Publisher(store, self.plan)

    def read(self, shard: str, readable: bool) -> None:
        if self.plan.is_split(shard):
            return
        if readable:
            self.plan.split_shard(facts(shard, self.version))
        else:
            self.plan.mark_unreadable(shard)
        self.publisher.committed.recheck(shard)


def check_newest(store: Store, expected: dict[str, SnapshotEntry]) -> None:
    """Check that the latest snapshot has exactly the expected entries, in order, and their digest."""
    snapshot = latest_snapshot(store)
    found = list(snapshot_entries(store, snapshot))
    assert found == [expected[name] for name in sorted(expected)]
    assert snapshot.digest == SetDigest().add((e.unit, e.rows_digest) for e in found).value()
    assert snapshot.totals.units == len(found) <= snapshot.planned


@pytest.mark.parametrize(
    "seed", [*range(24), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(24, 300))]
)
def test_drivers_of_several_jobs_that_publish_in_any_order_never_mix_up(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    drivers: list[Driver] = []
    standing: dict[str, SnapshotEntry] = {}
    for _ in range(25):
        step = chance.choice(["start", "read", "refresh", "publish", "publish", "publish"])
        if step == "start" or not drivers:
            drivers.append(Driver(store, chance))
        driver = chance.choice(drivers)
        if step == "read":
            driver.read(chance.choice(SHARDS), chance.random() < 0.8)
        elif step == "refresh":
            driver.publisher.refresh()
        elif step == "publish":
            some = [unit for unit in list_units(driver.plan) if chance.random() < 0.3]
            ours = {unit.name: entry(driver.plan, unit) for unit in some}
            standing = {name: old for name, old in standing.items() if driver.plan.admits(old)} | ours

            driver.publisher.publish(ours, [])

            assert driver.publisher.committed.count == len(standing)
            check_newest(store, standing)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_publishing_gives_one_digest_and_few_segments(store: Store, seed: int) -> None:
    plan = JobPlan("j", METHODS[0], 2, SHARDS)
    for url in SHARDS:
        plan.split_shard(facts(url).model_copy(update={"samples": 200}))
    chance, everything = random.Random(seed), entries(plan)
    at_once = publish(open_store(f"memory://{uuid.uuid4().hex}"), plan, everything, [])
    chance.shuffle(everything)
    publishers = [Publisher(store, plan) for _ in range(2)]
    most = 0

    while everything:
        size = chance.randint(1, 9)
        some, everything = everything[:size], everything[size:]
        last = chance.choice(publishers).publish({e.unit: e for e in some}, [])
        most = max(most, len(last.segments))

    assert (last.digest, last.totals) == (at_once.digest, at_once.totals)
    assert [*snapshot_entries(store, last)] == sorted(entries(plan), key=lambda e: e.unit)
    assert most <= 3 * (FAN_OUT - 1)


def test_merging_stops_at_segments_that_are_large_enough(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.ledger.snapshots.segments, "FINAL_UNITS", 5)
    singles = [write_segment(store, [each], 1) for each in entries(plan_of())[:16]]

    merged = merge_small(store, singles, 2)

    assert [segment.totals.units for segment in merged] == [5, 5, 5, 1]
    assert merge_small(store, merged, 3) == merged
    found = [e for segment in merged for e in segment_entries(store, segment)]
    assert sorted(e.unit for e in found) == sorted(e.unit for e in entries(plan_of())[:16])


def test_a_publish_writes_what_is_new_and_reads_nothing_of_what_it_knows(store: Store) -> None:
    plan = plan_of()
    publisher = Publisher(store, plan)
    everything = entries(plan)
    publisher.publish({e.unit: e for e in everything[:5]}, [])
    read: list[str] = []
    whole = Store.read

    def noted(where: Store, path: str) -> bytes:
        read.append(path)
        return whole(where, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "read", noted)
        snapshot = publisher.publish({e.unit: e for e in everything[5:7]}, [])

    assert [segment.totals.units for segment in snapshot.segments] == [5, 2]
    assert read == ["snapshots/00000000000000000002.json"]  # the look for a newer version


def test_two_publishers_of_equal_content_come_to_one_version(store: Store) -> None:
    one, two = (Publisher(store, plan_of()) for _ in range(2))
    known = {e.unit: e for e in entries(plan_of())}

    assert one.publish(known, []) == two.publish(known, []) == one.publish(known, [])
    assert snapshot_versions(store) == [1]


def test_a_rival_that_merges_what_we_know_is_followed(store: Store) -> None:
    ours, theirs = (Publisher(store, plan_of()) for _ in range(2))
    everything = entries(plan_of())
    for number in range(6):
        ours.publish({everything[number].unit: everything[number]}, [])
    for number in range(6, 9):
        last = theirs.publish({everything[number].unit: everything[number]}, [])
    assert len(last.segments) == 2  # eight became one

    snapshot = ours.publish({everything[9].unit: everything[9]}, [])

    assert (snapshot.totals.units, ours.committed.count) == (10, 10)


def test_a_publisher_goes_on_after_a_look_that_broke_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = entries(plan_of())
    for number in range(3):
        publish(store, plan_of(), everything[3 * number : 3 * number + 3], [])
    publisher = Publisher(store, plan_of())
    keys, taken = engine.ledger.snapshots.publisher.segment_keys, []

    def broken(where: Store, segment: Segment) -> Iterator[Key]:
        rows = keys(where, segment)
        taken.append(segment)
        if len(taken) == 2:
            yield next(rows)
            raise OSError("the store is away")
        yield from rows

    monkeypatch.setattr(engine.ledger.snapshots.publisher, "segment_keys", broken)
    with pytest.raises(OSError, match="away"):
        publisher.refresh()

    assert publisher.publish({e.unit: e for e in everything}, []).totals.units == len(everything)


def test_a_commit_of_another_plan_is_not_published(store: Store) -> None:
    with pytest.raises(ValueError, match="does not belong to the published plan"):
        publish(store, plan_of(), entries(plan_of(METHODS[1])), [])


def test_a_snapshot_that_names_a_unit_twice_is_refused(store: Store) -> None:
    plan = plan_of()
    twice = entries(plan)[0]
    snapshot = publish(store, plan, entries(plan)[:2], [])
    both = (*snapshot.segments, write_segment(store, [twice], 2))
    double = snapshot.model_copy(update={"segments": both, "version": 2})

    with pytest.raises(ConflictError, match="is listed twice"):
        list(snapshot_entries(store, double))


def test_a_segment_with_another_byte_or_other_columns_is_refused(store: Store) -> None:
    segment = publish(store, plan_of(), entries(plan_of()), []).segments[0]
    whole = store.read(segment.path)
    for at in range(0, len(whole), len(whole) // 40):
        store.put(segment.path, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ConflictError, match="its snapshot expects"):
            latest = latest_snapshot(store)
            list(snapshot_entries(store, latest))
    other = table_bytes(REJECTIONS.empty_table(), 9)
    named = segment.model_copy(
        update={"size_bytes": len(other), "sha256": engine.ledger.snapshots.segments.sha256_hex(other)}
    )
    store.put(segment.path, other)

    with pytest.raises(ConflictError, match="expected a file written by this version"):
        list(segment_entries(store, named))


def test_very_many_failures_keep_the_snapshot_small(store: Store) -> None:
    plan = JobPlan("j", METHODS[0], 1, SHARDS)
    plan.split_shard(facts(SHARDS[0]).model_copy(update={"samples": 3000}))
    fates = [
        FailedUnit(unit=unit.name, shard=unit.shard, code="STORE_ERROR", detail="x" * 400)
        for unit in list_units(plan)
    ]

    snapshot = publish(store, plan, [], fates)

    assert (snapshot.failed_units, len(snapshot.failed)) == (3000, FAILED_LISTED)
    assert list(failed_units(store, snapshot)) == sorted(fates, key=lambda fate: fate.unit)
    assert publish(store, plan, [], fates).version == 1


def test_a_sets_digest_depends_on_its_members_alone() -> None:
    members = [(f"unit{number}", digest_of(number)) for number in range(1500)]
    whole = SetDigest().add(members)
    parts = SetDigest().add(reversed(members[:700])).add([("stranger", "x")]).add(members[700:])

    assert parts.value() != whole.value()
    assert parts.remove([("stranger", "x")]).value() == whole.value()
    assert SetDigest.decode(whole.encode()).value() == whole.value()
    assert SetDigest().add(members[1:]).value() != whole.value()
    assert SetDigest().add([("ab", "c")]).value() != SetDigest().add([("a", "bc")]).value()
    with pytest.raises(ValueError, match="bytes, expected 2048"):
        SetDigest.decode("AAAA")


@pytest.mark.parametrize("chosen", [None, "sha256:chosen"])
def test_a_fast_fingerprint_is_that_of_the_parts(chosen: str | None) -> None:
    method = MethodDigests('sha256:"quoted"', "sha256:ü", "sha256:p\\", "sha256:e", "sha256:d")
    plan = JobPlan("j", method, 5, SHARDS)
    plan.split_shard(facts(SHARDS[1]))

    for unit in list_units(plan):
        fast = Fingerprints(method).of(unit.input_digest, unit.first, unit.count, chosen)
        assert fast == build_parts(unit, method, chosen).fingerprint()
        assert plan.fingerprint(unit) == plan.parts(unit).fingerprint()
