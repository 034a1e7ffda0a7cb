"""Snapshots: numbered lists of commits, the only thing readers read.

Promise: a version, once published, never changes; a snapshot whose samples do not add up is not published; two
publishers rebase on each other instead of overwriting.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from engine.ledger.commits import put_record, record_bytes
from engine.ledger.evidence import total_digest
from engine.ledger.plan import JobPlan
from engine.storage import Store
from schemas.errors import Conflict, NotFound
from schemas.ledger import NO_SAMPLES, FailedUnit, SampleCounts, Snapshot, SnapshotEntry

_FOLDER = "snapshots"


def snapshot_path(version: int) -> str:
    """Where a version stands; 20 digits, so that names sort as numbers do."""
    return f"{_FOLDER}/{version:020d}.json"


def snapshot_versions(store: Store) -> list[int]:
    """Published versions, ascending."""
    names = [path.rsplit("/", 1)[-1].removesuffix(".json") for path in store.list(_FOLDER)]
    return sorted(int(name) for name in names if name.isdigit())


def read_snapshot(store: Store, version: int) -> Snapshot:
    """One version. Raises NotFound, and Conflict for a record that cannot be or does not add up."""
    data = store.read(snapshot_path(version))
    try:
        snapshot = Snapshot.model_validate_json(data)
    except ValidationError as error:
        raise Conflict(f"{store.url}/{snapshot_path(version)} cannot be read: {error}") from error
    if snapshot.version != version or snapshot.digest != total_digest(snapshot.entries):
        raise Conflict(
            f"{store.url}/{snapshot_path(version)}: its version or digest is not that of its entries"
        )
    return snapshot


def latest_snapshot(store: Store) -> Snapshot:
    """The newest version. Raises NotFound when nothing was published."""
    versions = snapshot_versions(store)
    if not versions:
        raise NotFound(f"{store.url} holds no snapshot; expected the output of `groundswell label`")
    return read_snapshot(store, versions[-1])


def publish(
    store: Store, plan: JobPlan, entries: Iterable[SnapshotEntry], failed: Iterable[FailedUnit]
) -> Snapshot:
    """Publish what a job has committed; nothing is written when the newest version says the same already.

    Entries of the newest version that the plan still admits are kept, so that rivals and zombies take nothing away.
    raises: ValueError when the samples of a commit do not add up, or more is committed and failed than planned
    """
    ours = {entry.unit: entry for entry in entries}
    fates = {fate.unit: fate for fate in failed}
    while True:
        versions = snapshot_versions(store)
        newest = read_snapshot(store, versions[-1]) if versions else None
        version = newest.version + 1 if newest else 1
        snapshot = _united(newest, version, plan, ours, fates)
        if newest is not None and newest.model_copy(update={"version": version}) == snapshot:
            return newest
        if put_record(store, snapshot_path(version), snapshot) == record_bytes(snapshot):
            return snapshot


def total_counts(entries: Iterable[SnapshotEntry]) -> SampleCounts:
    """The samples of several commits together."""
    total = NO_SAMPLES
    for entry in entries:
        total = total.plus(entry.counts)
    return total


def _united(
    newest: Snapshot | None,
    version: int,
    plan: JobPlan,
    ours: dict[str, SnapshotEntry],
    fates: dict[str, FailedUnit],
) -> Snapshot:
    standing = {entry.unit: entry for entry in newest.entries if plan.admits(entry)} if newest else {}
    entries = standing | ours
    rows = tuple(entries[name] for name in sorted(entries))
    failed = tuple(fates[name] for name in sorted(fates) if name not in entries)
    planned = plan.planned(rows)
    if len(rows) + len(failed) > planned:
        raise ValueError(f"{len(rows)} units committed and {len(failed)} failed, but only {planned} planned")
    for entry in rows:
        _check_conserved(entry)
    return Snapshot(
        version=version,
        job_digest=plan.job_digest,
        entries=rows,
        failed=failed,
        planned=planned,
        digest=total_digest(rows),
    )


def _check_conserved(entry: SnapshotEntry) -> None:
    rejected = entry.rejections.rows if entry.rejections else 0
    kept = entry.counts.labelled + entry.counts.empty
    if kept != entry.evidence.rows or sum(entry.counts.rejected.values()) != rejected:
        raise ValueError(
            f"{entry.unit}: {entry.evidence.rows} evidence rows and {rejected} rejections, but {kept} samples were "
            f"labelled or empty and {sum(entry.counts.rejected.values())} rejected"
        )
