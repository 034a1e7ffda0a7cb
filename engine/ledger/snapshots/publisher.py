"""Publishing: the newest snapshot and what was committed since become the next version.

Promise: a snapshot whose samples do not add up is not published, and no unit stands in one twice; two publishers rebase
on each other instead of overwriting, and come to the same. A publish costs what is new, not what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from engine.ledger.commits import put_data, put_record, record_bytes
from engine.ledger.plan import JobPlan
from engine.ledger.snapshots.committed_units import CommittedUnits
from engine.ledger.snapshots.segments import (
    filter_segment,
    merge_small,
    segment_keys,
    segment_path,
    write_segment,
)
from engine.ledger.snapshots.set_digest import SetDigest
from engine.ledger.snapshots.snapshots import FAILED, read_snapshot, snapshot_path, snapshot_versions
from engine.storage.safe_parquet import table_bytes
from engine.storage.store import Store
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import DataFile, FailedUnit, Segment, Snapshot, SnapshotEntry, Totals

FAILED_LISTED = 1000  # failed units that the snapshot itself names


def publish(
    store: Store, plan: JobPlan, entries: Iterable[SnapshotEntry], failed: Iterable[FailedUnit]
) -> Snapshot:
    """Publish once; a driver that publishes again and again keeps a Publisher instead, which reads nothing twice."""
    return Publisher(store, plan).publish({entry.unit: entry for entry in entries}, failed)


class Publisher:
    """Publishes for one plan, and knows which of its units the newest snapshot names (`listed`)."""

    def __init__(self, store: Store, plan: JobPlan, before_put: Callable[[], object] = lambda: None) -> None:
        self._store, self._plan, self._before_put = store, plan, before_put
        self.newest: Snapshot | None = None
        self.committed = CommittedUnits(plan)
        self._unfit: dict[str, int] = {}  # by segment of `newest`, entries that do not belong to the plan
        self._is_torn = False  # a look was broken off

    def refresh(self) -> Snapshot | None:
        """Catch up with the newest version, None where there is none. Reads only segments that were not read before."""
        newest = self._find_newest()
        segments = {segment.path: segment for segment in newest.segments} if newest else {}
        if self._is_torn or self.committed.is_stale or not self._unfit.keys() <= segments.keys():
            self._forget()
        self._is_torn = True  # until all is read
        for path, segment in segments.items():
            if path not in self._unfit:
                self._unfit[path] = self._take(segment)
        self._is_torn = False
        self.newest = newest
        return newest

    def publish(self, entries: Mapping[str, SnapshotEntry], failed: Iterable[FailedUnit]) -> Snapshot:
        """Publish commits, by unit; nothing is written when the newest version says the same already.

        Entries of the newest version that the plan still admits are kept, so that rivals and zombies take nothing
        away.
        raises: ValueError when the samples of a commit do not add up, when it does not belong to the plan, or when
                more is committed and failed than planned; what `before_put` raises, before anything is published
        """
        fates = {fate.unit: fate for fate in failed}
        while True:
            newest = self.refresh()
            new = [entries[name] for name in sorted(entries) if self._is_new(entries[name])]
            try:
                snapshot = self._next(newest, new, fates)
            except (
                NotFoundError,
                ConflictError,
            ):  # collected under us: that befalls only files of a version that stands
                if self._is_newest(newest):
                    raise
                continue
            if newest is not None and newest.model_copy(update={"version": snapshot.version}) == snapshot:
                return newest
            self._before_put()
            if put_record(self._store, snapshot_path(snapshot.version), snapshot) == record_bytes(snapshot):
                self._adopt(snapshot, new)
                return snapshot

    def _forget(self) -> None:
        self.committed, self._unfit, self._is_torn = CommittedUnits(self._plan), {}, False

    def _find_newest(self) -> Snapshot | None:
        """Listed once, then probed from the last one known: versions have no gaps."""
        newest = self.newest
        if newest is None:
            versions = snapshot_versions(self._store)
            return read_snapshot(self._store, versions[-1]) if versions else None
        while True:
            try:
                newest = read_snapshot(self._store, newest.version + 1)
            except NotFoundError:
                return newest

    def _is_newest(self, snapshot: Snapshot | None) -> bool:
        newest = self._find_newest()
        return (newest and newest.version) == (snapshot and snapshot.version)

    def _take(self, segment: Segment) -> int:
        return sum(not self.committed.add_if_planned(*key) for key in segment_keys(self._store, segment))

    def _is_new(self, entry: SnapshotEntry) -> bool:
        if not self._plan.admits(entry):
            raise ValueError(f"{entry.unit} of {entry.shard} does not belong to the plan that is published")
        return not self.committed.has(entry.shard, entry.unit)

    def _next(
        self, newest: Snapshot | None, new: list[SnapshotEntry], fates: dict[str, FailedUnit]
    ) -> Snapshot:
        for entry in new:
            _check_conserved(entry)
        done = {entry.unit for entry in new}
        failed = [
            fates[name]
            for name in sorted(fates)
            if name not in done and not self.committed.has(fates[name].shard, name)
        ]
        planned = self._planned_with(new)
        if (committed := self.committed.count + len(new)) + len(failed) > planned:
            raise ValueError(
                f"{committed} units committed and {len(failed)} failed, but only {planned} planned"
            )
        version = newest.version + 1 if newest else 1
        segments, digest = self._standing(newest)
        if new:
            segments.append(write_segment(self._store, new, version))
            digest.add((entry.unit, entry.rows_digest) for entry in new)
        rest = failed[FAILED_LISTED:]
        return self._snapshot(
            version,
            merge_small(self._store, segments, version),
            digest,
            planned,
            failed,
            _put_failed(self._store, rest, version, newest.failed_rest if newest else None),
        )

    def _snapshot(
        self,
        version: int,
        segments: tuple[Segment, ...],
        digest: SetDigest,
        planned: int,
        failed: list[FailedUnit],
        failed_rest: DataFile | None,
    ) -> Snapshot:
        totals = Totals()
        for segment in segments:
            totals = totals.plus(segment.totals)
        return Snapshot(
            version=version,
            job_digest=self._plan.job_digest,
            planned=planned,
            totals=totals,
            digest=digest.value(),
            digest_state=digest.encode(),
            segments=segments,
            failed_units=len(failed),
            failed=tuple(failed[:FAILED_LISTED]),
            failed_rest=failed_rest,
        )

    def _standing(self, newest: Snapshot | None) -> tuple[list[Segment], SetDigest]:
        """The newest version's segments, without entries that do not belong to the plan, and their digest."""
        if newest is None:
            return [], SetDigest()
        digest = SetDigest.decode(newest.digest_state)
        segments = []
        for segment in newest.segments:
            if not self._unfit[segment.path]:
                segments.append(segment)
                continue
            rest, dropped = filter_segment(self._store, segment, self._plan.admits_named, newest.version + 1)
            digest.remove(dropped)
            segments += [rest] if rest is not None else []
        return segments, digest

    def _planned_with(self, new: list[SnapshotEntry]) -> int:
        """Units planned once `new` is listed too."""
        unread = [entry for entry in new if not self._plan.is_cut(entry.shard)]
        if not unread:
            return self.committed.planned()
        both = CommittedUnits(self._plan)
        for shard, unit, fingerprint in (*self.committed.unread(), *map(_key, unread)):
            both.add_if_planned(shard, unit, fingerprint)
        return both.planned()

    def _adopt(self, snapshot: Snapshot, new: list[SnapshotEntry]) -> None:
        """Our own version is the newest: what it names is known without reading it."""
        for entry in new:
            self.committed.add(*_key(entry))
        self._unfit = dict.fromkeys((segment.path for segment in snapshot.segments), 0)
        self.newest = snapshot


def _key(entry: SnapshotEntry) -> tuple[str, str, str]:
    return entry.shard, entry.unit, entry.fingerprint


def _put_failed(
    store: Store, failed: list[FailedUnit], version: int, standing: DataFile | None
) -> DataFile | None:
    """The file of failed units; the standing one where it says the same."""
    if not failed:
        return None
    rows = [fate.model_dump() for fate in failed]
    data = table_bytes(pa.Table.from_pylist(rows, schema=FAILED), 16_384)
    sha256 = sha256_hex(data)
    if standing is not None and standing.sha256 == sha256:
        return standing
    path = segment_path(version, f"failed-{sha256[:16]}")
    put_data(store, path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=sha256, rows=len(rows))


def _check_conserved(entry: SnapshotEntry) -> None:
    rejected = entry.rejections.rows if entry.rejections else 0
    kept = entry.counts.labelled + entry.counts.empty
    if kept != entry.evidence.rows or sum(entry.counts.rejected.values()) != rejected:
        raise ValueError(
            f"{entry.unit}: {entry.evidence.rows} evidence rows and {rejected} rejections, but {kept} samples were "
            f"labelled or empty and {sum(entry.counts.rejected.values())} rejected"
        )
