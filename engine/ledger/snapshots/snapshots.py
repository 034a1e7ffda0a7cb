"""Snapshots: numbered states of an output, the only thing that readers read.

A published version never changes. A reader gets the published entries in unit order, each once. A snapshot is one small
object that names the segments with the entries (docs/ledger.md).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator

import pyarrow as pa

from engine.ledger.records import unreadable_error
from engine.ledger.snapshots.segments import segment_entries
from engine.ledger.snapshots.set_digest import SetDigest
from engine.storage.safe_parquet import read_table
from engine.storage.store import Store
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import SNAPSHOT_FORMAT, FailedUnit, Snapshot, SnapshotEntry

_FOLDER = "snapshots"
MOVE_AWAY = "move snapshots/ away and run `label` again: it finds every committed unit"
FAILED = pa.schema([(name, pa.string()) for name in ("unit", "shard", "code", "detail")])


def snapshot_path(version: int) -> str:
    """Return the path of a version; with 20 digits, names sort as numbers do."""
    return f"{_FOLDER}/{version:020d}.json"


def snapshot_versions(store: Store) -> list[int]:
    """Return the published versions in ascending order."""
    names = [path.rsplit("/", 1)[-1].removesuffix(".json") for path in store.list(_FOLDER)]
    return sorted(int(name) for name in names if name.isdigit())


def read_snapshot(store: Store, version: int) -> Snapshot:
    """Read one version. Raises NotFoundError, and ConflictError for an invalid record."""
    where = f"{store.url}/{snapshot_path(version)}"
    data = store.read(snapshot_path(version))
    try:
        _check_format(data, where)
        snapshot = Snapshot.model_validate_json(data)
        state = SetDigest.decode(snapshot.digest_state)
    except ValueError as error:  # a ValidationError is one
        raise unreadable_error(where, "a snapshot", error, MOVE_AWAY) from error
    if snapshot.version != version or snapshot.digest != state.value():
        raise ConflictError(
            f"{where}: version {snapshot.version} with digest {snapshot.digest}, expected {version} with "
            f"{state.value()}; {MOVE_AWAY}"
        )
    return snapshot


def latest_snapshot(store: Store) -> Snapshot:
    """Read the latest version. Raises NotFoundError if nothing was published."""
    versions = snapshot_versions(store)
    if not versions:
        raise NotFoundError(f"{store.url} has no snapshot; expected the output of `groundswell label`")
    return read_snapshot(store, versions[-1])


def snapshot_entries(store: Store, snapshot: Snapshot) -> Iterator[SnapshotEntry]:
    """Yield the entries in unit order, each unit once.

    Memory: some thousand entries, and the compressed bytes of the segments.
    raises: ConflictError for a segment that is not what the snapshot says, and for a unit that is listed twice
    """
    before = ""
    streams = [segment_entries(store, segment) for segment in snapshot.segments]
    for entry in heapq.merge(*streams, key=lambda entry: entry.unit):
        if entry.unit <= before:
            raise ConflictError(
                f"{store.url}, snapshot {snapshot.version}: {entry.unit} follows {before}: a unit is listed twice, or "
                f"a segment is out of order; {MOVE_AWAY}"
            )
        before = entry.unit
        yield entry


def failed_units(store: Store, snapshot: Snapshot) -> Iterator[FailedUnit]:
    """Yield all failed units by name; the snapshot itself lists the first thousand.

    raises: ConflictError if the file of the others is gone or is not what the snapshot says
    """
    yield from snapshot.failed
    if (rest := snapshot.failed_rest) is None:
        return
    where = f"{store.url}/{rest.path}"
    try:
        data = store.read(rest.path)
    except NotFoundError as error:
        raise ConflictError(
            f"{error}, but snapshot {snapshot.version} names it; run the job again"
        ) from error
    if sha256_hex(data) != rest.sha256:
        raise ConflictError(
            f"{where} has sha256 {sha256_hex(data)}, snapshot {snapshot.version} expects {rest.sha256}; run the job "
            "again"
        )
    for row in read_table(data, FAILED, where).to_pylist():
        yield FailedUnit(**row)


def _check_format(data: bytes, where: str) -> None:
    record = json.loads(data)
    found = record.get("format_version") if isinstance(record, dict) else None
    if str(found).split(".")[0] != SNAPSHOT_FORMAT.split(".")[0]:
        raise ConflictError(f"{where} has format {found}, this version reads {SNAPSHOT_FORMAT}; {MOVE_AWAY}")
