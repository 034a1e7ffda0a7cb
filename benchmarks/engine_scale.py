"""The engine at scale: a driver, 10^6 units and 10^4 actors that only pretend to label.

Plan, dispatch loop, labeling state, publishing, segments, epochs and restart are the real ones; actors are objects of
this process that answer with real snapshot entries and write shard facts. They write no evidence and no commit records:
those are the workers' own writes, which no driver waits for.

    python -m benchmarks.engine_scale --units 1000000 --actors 10000
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import engine.driver.label_run
from engine.driver.dispatch import run_tasks
from engine.driver.label_run import LabelRun
from engine.ledger.fingerprint import MethodDigests
from engine.ledger.plan import JobPlan
from engine.ledger.shard_facts import record_facts
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries, snapshot_path
from engine.reading.shard_cache import ShardStat
from engine.settings import InputSettings
from engine.storage.store import Store
from engine.task import Outcome, PoolState, Task
from schemas.digests import digest_of
from schemas.ledger import DataFile, SampleCounts, ShardFacts, SnapshotEntry, Unit

UNIT_SAMPLES = 512
UNITS_PER_SHARD = 20  # a shard of about 10,000 samples
TASKS_PER_ACTOR = 2


class CountingStore(Store):
    """A local store that counts what is written to it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.puts = self.put_bytes = 0

    def put(self, path: str, data: bytes) -> None:
        self.puts, self.put_bytes = self.puts + 1, self.put_bytes + len(data)
        super().put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.puts, self.put_bytes = self.puts + 1, self.put_bytes + len(data)
        return super().put_if_absent(path, data)

    def exists(self, path: str) -> bool:
        """Return True for evidence, which the driver checks on a local disk. The fake actors write none."""
        return path.startswith("data/") or super().exists(path)


class FakeActor:
    """Holds the tasks that were handed to it, and answers them in order."""

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()


class FakePool:
    """A Pool of fake actors. Time spent in their work is kept apart: in a cluster it is not the driver's."""

    def __init__(self, actors: int, store: Store, settings: InputSettings) -> None:
        self._actors = [FakeActor() for _ in range(actors)]
        self._ready = deque(actor for _ in range(TASKS_PER_ACTOR) for actor in self._actors)
        self._working: deque[FakeActor] = deque()
        self._store, self._settings = store, settings
        self.worked_s = 0.0

    def capacity(self, remaining: int | None = None) -> int:
        """See Pool."""
        return len(self._ready)

    def wait_for_capacity(self) -> None:
        """See Pool."""

    def submit(self, task: Task) -> None:
        """See Pool."""
        actor = self._ready.popleft()
        actor.tasks.append(task)
        self._working.append(actor)

    def count_in_flight(self) -> int:
        """See Pool."""
        return len(self._working)

    def next_outcome(self) -> Outcome:
        """See Pool."""
        begun = time.perf_counter()
        actor = self._working.popleft()
        self._ready.append(actor)
        outcome = self._work(actor.tasks.popleft())
        self.worked_s += time.perf_counter() - begun
        return outcome

    def state(self) -> PoolState:
        """See Pool."""
        return PoolState(wanted=len(self._actors), placed=len(self._actors))

    def close(self) -> None:
        """See Pool."""

    def _work(self, task: Task) -> Outcome:
        if task.unit is not None and task.parts is not None:
            return Outcome(task=task, entry=entry_of(task.unit, task.parts.fingerprint()))
        facts = facts_of(task.shard)
        record_facts(self._store, task.shard, self._settings, facts)
        return Outcome(task=task, facts=facts)


class PublishingEvery:
    """Work that is published after so many units: 15 s of a cluster that does some 200 units a second."""

    def __init__(self, work: LabelRun, units: int) -> None:
        self._work, self._units = work, units
        self._settled = 0
        self.took_s: list[float] = []
        self.peak_bytes = 0

    def next_task(self) -> Task | None:
        """See Work."""
        return self._work.next_task()

    def count_remaining(self) -> int:
        """See Work."""
        return self._work.count_remaining()

    def settle(self, outcome: Outcome) -> None:
        """See Work."""
        self._work.settle(outcome)
        self._settled += outcome.entry is not None
        if outcome.entry is not None and self._settled % self._units == 0:
            self.publish()

    def publish(self) -> None:
        """Publish, and note how long it took and how much memory the process has."""
        begun = time.perf_counter()
        self._work.publish()
        self.took_s.append(time.perf_counter() - begun)
        self.peak_bytes = max(self.peak_bytes, resident_bytes())


def entry_of(unit: Unit, fingerprint: str) -> SnapshotEntry:
    """Return what a worker's commit of a unit would give. Digests are as random as real ones."""
    sha256 = hashlib.sha256(unit.name.encode()).hexdigest()
    path = f"data/{unit.name}/{fingerprint[7:23]}/{sha256[:16]}.parquet"
    rejected = {"IMG_DECODE": 1} if unit.first % 3 == 0 else {}
    kept = unit.count - len(rejected)
    file = DataFile(path=path, size_bytes=400_000 + unit.first % 9973, sha256=sha256, rows=kept)
    return SnapshotEntry(
        unit=unit.name,
        fingerprint=fingerprint,
        shard=unit.shard,
        counts=SampleCounts(samples_in=unit.count, labelled=kept, empty=0, rejected=rejected),
        regions=4 * kept,
        evidence=file,
        rejections=file.model_copy(update={"rows": 1}) if rejected else None,
        rows_digest=digest_of(sha256),
    )


def facts_of(stat: ShardStat) -> ShardFacts:
    """Return what a worker finds in a shard."""
    sha256 = hashlib.sha256(stat.url.encode()).hexdigest()
    samples = UNIT_SAMPLES * UNITS_PER_SHARD
    return ShardFacts(
        url=stat.url, size_bytes=stat.size_bytes, version=stat.version, sha256=sha256, samples=samples
    )


def resident_bytes() -> int:
    """Memory of this process now."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def stats_of(shards: int) -> Iterator[ShardStat]:
    """Shards as a look at a bucket tells them."""
    for number in range(shards):
        url = f"s3://bucket/web-crawl/part-{number // 1000:05d}/{number:08d}.tar"
        yield ShardStat(url, 1_000_000_000, f"etag={hashlib.md5(url.encode()).hexdigest()}")


def labeling_of(store: Store, shards: int) -> LabelRun:
    """Start a run over this many shards as `label` does."""
    stats = list(stats_of(shards))
    method = MethodDigests("sha256:r", "sha256:t", "sha256:p", "sha256:e")
    plan = JobPlan("sha256:scale", method, UNIT_SAMPLES, (stat.url for stat in stats))
    work = LabelRun(store, plan, SETTINGS)
    work.begin(stats, [])
    work.find_committed()
    return work


SETTINGS = InputSettings(urls=("s3://bucket/x.tar",), unit_samples=UNIT_SAMPLES)


def measure(folder: str, units: int, actors: int, publish_every: int) -> dict[str, Any]:
    """Run the job to its end, restart it, read it."""
    store = CountingStore(folder)
    shards = units // UNITS_PER_SHARD
    before = resident_bytes()
    work = labeling_of(store, shards)
    begun_bytes = resident_bytes()
    pool, publishing = FakePool(actors, store, SETTINGS), PublishingEvery(work, publish_every)
    work.publish()
    started = time.perf_counter()
    run_tasks(pool, publishing)
    publishing.publish()
    took_s = time.perf_counter() - started
    gc.collect()
    after = resident_bytes()
    driver_s = took_s - pool.worked_s - sum(publishing.took_s)
    result = {
        "units": units,
        "actors": actors,
        "shards": shards,
        "dispatch": {
            "driver_s": round(driver_s, 2),
            "units_per_s": round(units / driver_s),
            "units_per_s_with_publishing": round(units / (driver_s + sum(publishing.took_s))),
        },
        "memory": {
            "before_mib": round(before / 2**20, 1),
            "begun_mib": round(begun_bytes / 2**20, 1),
            "peak_at_a_publish_mib": round(publishing.peak_bytes / 2**20, 1),
            "end_mib": round(after / 2**20, 1),
            "growth_bytes_per_unit": round((after - before) / units, 1),
        },
        "publish": {
            "units_each": publish_every,
            "publishes": len(publishing.took_s),
            "median_s": round(statistics.median(publishing.took_s), 4),
            "longest_s": round(max(publishing.took_s), 3),
            "total_s": round(sum(publishing.took_s), 2),
            "written_bytes_per_unit": round(store.put_bytes / units, 1),
        },
    }
    del work, pool, publishing
    gc.collect()
    return result | {
        "snapshot": snapshot_size(store),
        "restart": run_in_new_process("restart", folder, units),
        "reader": run_in_new_process("read", folder, units),
    }


def run_in_new_process(what: str, folder: str, units: int) -> dict[str, Any]:
    """Do a part in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", __spec__.name, "--part", what, "--folder", folder]
    answer = subprocess.run([*command, "--units", str(units)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def snapshot_size(store: Store) -> dict[str, Any]:
    """Return the size of the newest snapshot, and how many objects a reader of all entries opens."""
    snapshot = latest_snapshot(store)
    entries = sum(segment.size_bytes for segment in snapshot.segments)
    return {
        "version": snapshot.version,
        "bytes": store.size(snapshot_path(snapshot.version)),
        "segments": len(snapshot.segments),
        "objects_a_reader_opens": 1 + len(snapshot.segments),
        "segment_bytes_per_unit": round(entries / snapshot.totals.units, 1),
        "units_by_segment": [segment.totals.units for segment in snapshot.segments],
    }


def restart(store: Store, shards: int) -> dict[str, Any]:
    """Start a driver on an existing output, in a process of its own, so that its memory can be measured."""
    before, begun = resident_bytes(), time.perf_counter()
    work = labeling_of(store, shards)
    took_s = time.perf_counter() - begun
    assert not work.has_next(), "everything is committed"
    return {
        "s": round(took_s, 2),
        "units_found": work.num_committed,
        "growth_mib": round((resident_bytes() - before) / 2**20, 1),
        "growth_bytes_per_unit": round((resident_bytes() - before) / work.num_committed, 1),
    }


def read(store: Store, shards: int) -> dict[str, Any]:
    """Measure what a reader waits for: the summary of `status`, and every entry in order."""
    before, begun = resident_bytes(), time.perf_counter()
    snapshot = latest_snapshot(store)
    status_s = time.perf_counter() - begun
    entries, most = 0, before
    for entries, _ in enumerate(snapshot_entries(store, snapshot), 1):
        most = most if entries % 10_000 else max(most, resident_bytes())
    assert entries == snapshot.totals.units == shards * UNITS_PER_SHARD
    return {
        "status_s": round(status_s, 4),
        "all_entries_s": round(time.perf_counter() - begun, 2),
        "growth_mib": round((most - before) / 2**20, 1),
    }


@contextlib.contextmanager
def publish_by_units() -> Iterator[None]:
    """Switch off the publishing by time, see PublishingEvery."""
    every_s = engine.driver.label_run.PUBLISH_EVERY_S
    engine.driver.label_run.PUBLISH_EVERY_S = float("inf")
    try:
        yield
    finally:
        engine.driver.label_run.PUBLISH_EVERY_S = every_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--actors", type=int, default=10_000)
    parser.add_argument("--publish-every", type=int, default=3_000, help="units")
    parser.add_argument("--folder", type=Path, help="where the output goes; default a temporary folder")
    parser.add_argument("--part", choices=["restart", "read"], help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.part:
        part = restart if asked.part == "restart" else read
        print(json.dumps(part(CountingStore(str(asked.folder)), asked.units // UNITS_PER_SHARD)))
        return
    folder = tempfile.TemporaryDirectory(prefix="groundswell-scale-", dir=asked.folder)
    with publish_by_units(), folder as name:
        print(json.dumps(measure(name, asked.units, asked.actors, asked.publish_every), indent=1))


if __name__ == "__main__":
    main()
