"""Invariants of a simulated output, checked after every write and at its end. Each breach is a Violation.

The watch sees every change of an object. It checks with the real readers, on a view of the store that is not a step of
the history.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from engine.ledger.commits import read_commit, read_commit_by_short_fingerprint, to_snapshot_entry
from engine.ledger.snapshots.segments import segment_version
from engine.ledger.snapshots.snapshots import (
    latest_snapshot,
    read_snapshot,
    snapshot_entries,
    snapshot_versions,
)
from engine.ledger.verify import entry_problems
from schemas.digests import sha256_hex
from schemas.ledger import FailedUnit, Snapshot, SnapshotEntry
from tests.suites.ledger.simulated_world import SimulatedStore, Violation, World
from tests.suites.ledger.tiny_job import JOBS, TinyJob

_sound: list[
    SnapshotEntry
] = []  # entries whose rows were judged in an earlier history: bytes named by digest do not change


RECORDS = ("commits/", "snapshots/", "shards/", "epochs/", "attempts/")


@dataclass(frozen=True)
class Claim:
    """When and by which process an epoch was claimed, and for which job; a clean-up has none."""

    step: int
    process: str
    job: str | None


class Watch:
    """Checks every change. `named` are the files of commits: path to digest."""

    def __init__(self, world: World) -> None:
        self.world, self.store = world, SimulatedStore(world, quiet=True)
        self.named: dict[str, str] = {}
        self.published: set[str] = set()  # segments that a snapshot names
        self.removed: list[str] = []
        self._listed: dict[str, list[SnapshotEntry]] = {}  # of the job of the newest snapshot
        self._claimed: list[Claim] = []
        self._late: Counter[str] = Counter()  # by driver, versions after a claim of another job
        world.watch = self.change

    def change(self, path: str, before: bytes | None, after: bytes | None) -> None:
        """Check after an object was created, changed or removed."""
        if after is None:
            self._removal(path)
        elif before is not None and before != after:
            raise Violation(f"{path} was changed after it was written")
        elif before is None and path.startswith("epochs/"):
            self._claimed.append(
                Claim(self.world.steps, self.world.running, json.loads(after or b"{}").get("job"))
            )
        elif before is None and path.startswith("commits/"):
            self._commit(path, after)
        elif before is None and path.startswith("snapshots/"):
            self._snapshot(int(path.rsplit("/", 1)[-1].removesuffix(".json")))

    def _removal(self, path: str) -> None:
        self.removed.append(path)
        if path in self.named:
            raise Violation(f"{path} was removed, but a commit names it")
        if path.startswith(RECORDS):
            raise Violation(f"{path} was removed; records stand for ever")
        if path in self.published:
            raise Violation(f"{path} was removed, but a snapshot names it")
        if path.startswith(("data/", "rejected/", "segments/")):
            self._fence_deletion()

    def _fence_deletion(self) -> None:
        """Check that the holder of an epoch looked for later ones just before a deletion, and found none."""
        looked_at = next(step for step, kind in self.world.steps_of(self.world.running) if kind != "delete")
        for claim in self._claims_after_ours():
            if claim.step <= looked_at:
                raise Violation(
                    f"{self.world.running} deleted, though {claim.process} had claimed a later epoch"
                )

    def _fence_publishing(self, job: str) -> None:
        """Check that a driver does not begin to publish after another job has claimed a later epoch."""
        process = self.world.running
        if any(claim.job not in (None, job) for claim in self._claims_after_ours()):
            self._late[process] += 1
        if self._late[process] > 1:
            raise Violation(f"{process} goes on publishing, though another job has claimed a later epoch")

    def _claims_after_ours(self) -> list[Claim]:
        process = self.world.running
        own = [number for number, claim in enumerate(self._claimed) if claim.process == process]
        return self._claimed[own[-1] + 1 :] if own else []

    def _commit(self, path: str, data: bytes) -> None:
        record = json.loads(data) if data else None
        if record is None:
            raise Violation(f"{path} was created torn")
        for file in filter(None, (record["evidence"], record["rejections"])):
            if sha256_hex(self.world.objects.get(file["path"], b"")) != file["sha256"]:
                raise Violation(f"{path} names {file['path']}, which is not there with those bytes")
            self.named[file["path"]] = file["sha256"]

    def _snapshot(self, version: int) -> None:
        snapshot = read_snapshot(self.store, version)
        self.published |= {segment.path for segment in snapshot.segments}
        entries = list(snapshot_entries(self.store, snapshot))
        if lost := lost_units(self._listed.get(snapshot.job_digest, []), entries, snapshot.failed):
            raise Violation(f"snapshot {version} lost {lost}")
        self._listed = {snapshot.job_digest: of_the_job(snapshot, entries)}
        self._fence_publishing(snapshot.job_digest)
        for entry in entries:
            record = read_commit(self.store, entry.unit, entry.fingerprint)
            if record is None or to_snapshot_entry(record) != entry:
                raise Violation(f"snapshot {version}: {entry.unit} is not what was committed")


def of_the_job(snapshot: Snapshot, entries: Iterable[SnapshotEntry]) -> list[SnapshotEntry]:
    """Return the entries with a fingerprint of the snapshot's job.

    Of a shard that its driver has not read yet, a snapshot lists what was committed under any fingerprint.
    """
    return [entry for entry in entries if entry.fingerprint in JOBS[snapshot.job_digest].fingerprints]


def lost_units(
    before: Iterable[SnapshotEntry], after: Iterable[SnapshotEntry], failed: Iterable[FailedUnit]
) -> list[str]:
    """Return units of one snapshot that a later one does not have, unless it lists their shard as failed.

    A driver that cannot read a shard does not vouch for other drivers' commits of it, and reports that.
    """
    given_up = {fate.shard for fate in failed}
    standing = {entry.unit for entry in after}
    return [entry.unit for entry in before if entry.unit not in standing and entry.shard not in given_up]


def check_end(watch: Watch, job: TinyJob, digest: str | None) -> Snapshot:
    """Check the end: all units and samples, readable, with the undisturbed rows if bytes are fixed."""
    store = watch.store
    snapshot = latest_snapshot(store)
    if snapshot_versions(store) != list(range(1, snapshot.version + 1)):
        raise Violation("a snapshot's number is missing")
    entries = list(snapshot_entries(store, snapshot))
    counts = [entry.counts for entry in entries]
    if len(counts) != job.units or snapshot.failed or snapshot.planned != job.units:
        raise Violation(f"{len(counts)} of {job.units} units, {len(snapshot.failed)} failed at the end")
    if sum(count.samples_in for count in counts) != sum(job.samples):
        raise Violation("samples were lost or doubled")
    for entry in entries:
        _check_entry(store, entry)
    if digest is not None and snapshot.digest != digest:
        raise Violation("the rows differ from those of an undisturbed run")
    return snapshot


def _check_entry(store: SimulatedStore, entry: SnapshotEntry) -> None:
    for file in filter(None, (entry.evidence, entry.rejections)):
        if sha256_hex(store.read(file.path)) != file.sha256:
            raise Violation(f"{file.path} does not hold the bytes that were committed")
    if entry in _sound:
        return
    for problem in entry_problems(store, entry):
        raise Violation(f"{entry.unit}: {problem}")
    _sound.append(entry)


def check_orphans(watch: Watch) -> None:
    """Check after a last collection that only committed files of decided units and named files of versions are left."""
    store = watch.store
    left = {*store.list("data"), *store.list("rejected")}
    if gone := watch.named.keys() - left:
        raise Violation(f"after collection {sorted(gone)} are gone")
    for path in left - watch.named.keys():
        _, unit, fingerprint16, _ = path.split("/")
        if read_commit_by_short_fingerprint(store, unit, fingerprint16) is not None:
            raise Violation(f"after collection {path} is left, though its unit is decided")
    made = set(snapshot_versions(store))
    for path in set(store.list("segments")) - watch.published:
        if segment_version(path) in made:
            raise Violation(f"after collection {path} is left, though its version is there without it")
