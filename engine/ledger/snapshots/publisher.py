"""Publish snapshots: the latest snapshot and the units committed since become the next version.

A snapshot whose samples do not add up is not published, and no unit is listed twice. Two publishers rebase on each
other instead of overwriting, with the same result. The cost of a publish depends on what is new, not on what exists.
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

FAILED_LISTED = 1000  # failed units that the snapshot itself lists


class Publisher:
    """Publishes for one plan, and knows which of its units the latest snapshot lists (`committed`)."""

    def __init__(self, store: Store, plan: JobPlan, before_put: Callable[[], object] = lambda: None) -> None:
        self._store, self._plan, self._before_put = store, plan, before_put
        self.newest: Snapshot | None = None
        self.committed = CommittedUnits(plan)
        self._unfit: dict[
            str, int
        ] = {}  # number of entries that do not belong to the plan, by segment of `newest`
        self._is_partial = False  # a refresh was interrupted

    def refresh(self) -> Snapshot | None:
        """Load the latest version; return None if there is none. Only new segments are read."""
        newest = self._find_newest()
        segments = {segment.path: segment for segment in newest.segments} if newest else {}
        if self._is_partial or self.committed.is_stale or not self._unfit.keys() <= segments.keys():
            self._forget()
        self._is_partial = True  # until all is read
        for path, segment in segments.items():
            if path not in self._unfit:
                self._unfit[path] = self._add_segment(segment)
        self._is_partial = False
        self.newest = newest
        return newest

    def publish(self, entries: Mapping[str, SnapshotEntry], failed: Iterable[FailedUnit]) -> Snapshot:
        """Publish commits, by unit. Nothing is written if the latest version already says the same.

        Entries of the latest version that the plan still admits are kept, so that rival and zombie processes remove
        nothing.
        raises: ValueError if the samples of a commit do not add up, if a commit does not belong to the plan, or if more
                units are committed and failed than planned; any error of `before_put`, before anything is published
        """
        failures = {unit.unit: unit for unit in failed}
        while True:
            newest = self.refresh()
            new = [entries[name] for name in sorted(entries) if self._is_new(entries[name])]
            try:
                snapshot = self._build_next(newest, new, failures)
            except (NotFoundError, ConflictError):
                # a file was garbage-collected, which happens only to files of a version that exists
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
        self.committed, self._unfit, self._is_partial = CommittedUnits(self._plan), {}, False

    def _find_newest(self) -> Snapshot | None:
        """List the versions once, then probe from the last known one: versions have no gaps."""
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

    def _add_segment(self, segment: Segment) -> int:
        """Add a segment's units; return how many of its entries do not belong to the plan."""
        return sum(not self.committed.add_if_planned(*key) for key in segment_keys(self._store, segment))

    def _is_new(self, entry: SnapshotEntry) -> bool:
        if not self._plan.admits(entry):
            raise ValueError(f"{entry.unit} of {entry.shard} does not belong to the published plan")
        return not self.committed.has(entry.shard, entry.unit)

    def _build_next(
        self, newest: Snapshot | None, new: list[SnapshotEntry], failures: dict[str, FailedUnit]
    ) -> Snapshot:
        for entry in new:
            _check_conserved(entry)
        done = {entry.unit for entry in new}
        failed = [
            failures[name]
            for name in sorted(failures)
            if name not in done and not self.committed.has(failures[name].shard, name)
        ]
        planned = self._count_planned_with(new)
        if (committed := self.committed.count + len(new)) + len(failed) > planned:
            raise ValueError(
                f"{committed} units committed and {len(failed)} failed, but only {planned} planned"
            )
        version = newest.version + 1 if newest else 1
        segments, digest = self._carry_over(newest)
        if new:
            segments.append(write_segment(self._store, new, version))
            digest.add((entry.unit, entry.rows_digest) for entry in new)
        rest = failed[FAILED_LISTED:]
        return self._build_snapshot(
            version,
            merge_small(self._store, segments, version),
            digest,
            planned,
            failed,
            _put_failed(self._store, rest, version, newest.failed_rest if newest else None),
        )

    def _build_snapshot(
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

    def _carry_over(self, newest: Snapshot | None) -> tuple[list[Segment], SetDigest]:
        """Return the latest version's segments, without entries that do not belong to the plan, and their digest."""
        if newest is None:
            return [], SetDigest()
        digest = SetDigest.decode(newest.digest_state)
        segments = []
        for segment in newest.segments:
            if not self._unfit[segment.path]:
                segments.append(segment)
                continue
            rest, dropped = filter_segment(self._store, segment, self._plan.admits_unit, newest.version + 1)
            digest.remove(dropped)
            segments += [rest] if rest is not None else []
        return segments, digest

    def _count_planned_with(self, new: list[SnapshotEntry]) -> int:
        """Count the planned units if `new` is listed too."""
        unread = [entry for entry in new if not self._plan.is_split(entry.shard)]
        if not unread:
            return self.committed.count_planned()
        both = CommittedUnits(self._plan)
        for shard, unit, fingerprint in (*self.committed.unread(), *map(_key, unread)):
            both.add_if_planned(shard, unit, fingerprint)
        return both.count_planned()

    def _adopt(self, snapshot: Snapshot, new: list[SnapshotEntry]) -> None:
        """Make our own version the latest one, without reading it."""
        for entry in new:
            self.committed.add(*_key(entry))
        self._unfit = dict.fromkeys((segment.path for segment in snapshot.segments), 0)
        self.newest = snapshot


def _key(entry: SnapshotEntry) -> tuple[str, str, str]:
    return entry.shard, entry.unit, entry.fingerprint


def _put_failed(
    store: Store, failed: list[FailedUnit], version: int, existing: DataFile | None
) -> DataFile | None:
    """Write the file of failed units, or return the existing file if it has the same content."""
    if not failed:
        return None
    rows = [unit.model_dump() for unit in failed]
    data = table_bytes(pa.Table.from_pylist(rows, schema=FAILED), 16_384)
    sha256 = sha256_hex(data)
    if existing is not None and existing.sha256 == sha256:
        return existing
    path = segment_path(version, f"failed-{sha256[:16]}")
    put_data(store, path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=sha256, rows=len(rows))


def _check_conserved(entry: SnapshotEntry) -> None:
    rejected = entry.rejections.rows if entry.rejections else 0
    kept = entry.counts.labelled + entry.counts.empty
    if kept != entry.evidence.rows or sum(entry.counts.rejected.values()) != rejected:
        raise ValueError(
            f"{entry.unit}: {entry.evidence.rows} evidence rows and {rejected} rejections, but {kept} samples were "
            f"labeled or empty and {sum(entry.counts.rejected.values())} rejected"
        )
