"""The commit protocol: how a unit becomes done, exactly once, whoever dies or races.

Data files are named by their digest and written first; the commit record, put if absent, is the one fact that
counts. Losing the race or the answer is settled by reading what stands (docs/ledger.md). No clock
and no lock is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from engine.ledger.records import parse_record
from engine.ledger.rows import rows_digest
from engine.ledger.unit_result import UnitResult
from engine.storage.retry import run_with_retries
from engine.storage.safe_parquet import read_table, table_bytes
from engine.storage.store import Store
from schemas.arrow import EVIDENCE, REJECTIONS, build_table
from schemas.digests import canonical_json, sha256_hex, shorten_digest
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import CommitRecord, DataFile, FingerprintParts, SnapshotEntry, Unit

ROW_GROUP_ROWS = 256


def commit_unit(
    store: Store, unit: Unit, parts: FingerprintParts, result: UnitResult, provenance: Mapping[str, str]
) -> CommitRecord:
    """Make a unit done. Returns the record that stands: ours, or that of whoever was first.

    raises: ValueError when the samples do not add up, ConflictError when what was written reads back differently
    """
    fingerprint = parts.fingerprint()
    metadata = {"groundswell.unit": unit.name, "groundswell.fingerprint": fingerprint, **provenance}
    place = f"{unit.name}/{shorten_digest(fingerprint)}"  # the path names the commit that decides on it
    rejections, refused = None, list[dict[str, Any]]()
    try:
        evidence, rows = _put_table(store, f"data/{place}", result.rows, EVIDENCE, metadata)
        if result.rejections:
            rejections, refused = _put_table(
                store, f"rejected/{place}", result.rejections, REJECTIONS, metadata
            )
    except NotFoundError as error:  # collected already: that befalls only what lost to a record that stands
        if (other := read_commit(store, unit.name, fingerprint)) is None:
            raise OSError(f"{error}, although it was just written and no commit stands") from error
        return other
    record = CommitRecord(
        unit=unit,
        fingerprint=fingerprint,
        parts=parts,
        counts=result.counts(),
        regions=sum(len(row["regions"]) for row in rows),
        evidence=evidence,
        rejections=rejections,
        rows_digest=rows_digest(rows, refused),
        quarantined=result.is_quarantined,
    )
    standing = put_record(store, commit_path(unit.name, fingerprint), record)
    return _record(store, standing, unit.name, fingerprint)


def read_commit(store: Store, unit: str, fingerprint: str) -> CommitRecord | None:
    """The commit record of a unit under a fingerprint, None while it is not done."""
    try:
        data = store.read(commit_path(unit, fingerprint))
    except NotFoundError:
        return None
    return _record(store, data, unit, fingerprint)


def read_commit_by_short_fingerprint(store: Store, unit: str, fingerprint16: str) -> CommitRecord | None:
    """As `read_commit`, by the 16 digits of the fingerprint that stand in a file's path."""
    try:
        data = store.read(commit_path(unit, fingerprint16))
    except NotFoundError:
        return None
    return _record(store, data, unit, fingerprint16)


def to_snapshot_entry(record: CommitRecord) -> SnapshotEntry:
    """A commit as a snapshot names it."""
    return SnapshotEntry(
        unit=record.unit.name,
        fingerprint=record.fingerprint,
        shard=record.unit.shard,
        counts=record.counts,
        regions=record.regions,
        evidence=record.evidence,
        rejections=record.rejections,
        rows_digest=record.rows_digest,
        quarantined=record.quarantined,
    )


def commit_path(unit: str, fingerprint: str) -> str:
    """Where the commit record of a unit under a fingerprint stands."""
    return f"commits/{unit}/{shorten_digest(fingerprint)}.json"


def record_bytes(record: BaseModel) -> bytes:
    """The one JSON form of a record."""
    return canonical_json(record.model_dump(mode="json")) + b"\n"


def put_record(store: Store, path: str, record: BaseModel) -> bytes:
    """Put a record if its name is free; the bytes that stand there, ours or another's.

    An error leaves the outcome unknown: it is tried again, which is safe, and never cleaned up.
    """
    data = record_bytes(record)
    if run_with_retries(lambda: store.put_if_absent(path, data)):
        return data
    return store.read(path)


def put_data(store: Store, path: str, data: bytes) -> None:
    """Put a file that a record is about to name, and see that all of it stands there.

    raises: OSError when it does not, or the store keeps failing; NotFoundError when it was collected meanwhile
    """

    def put_and_look() -> None:
        store.put(path, data)
        if (stored := store.size(path)) != len(data):
            raise OSError(f"{store.url}/{path}: {stored} of {len(data)} bytes were stored")

    run_with_retries(put_and_look)


def _put_table(
    store: Store, folder: str, rows: list[dict[str, Any]], schema: pa.Schema, metadata: Mapping[str, str]
) -> tuple[DataFile, list[dict[str, Any]]]:
    """Write rows under their digest; the file as it will be committed, and its rows as a reader will see them."""
    data = table_bytes(build_table(rows, schema, dict(metadata)), ROW_GROUP_ROWS)
    digest = sha256_hex(data)
    path = f"{folder}/{digest[:16]}.parquet"
    # read back before anyone may rely on it: a file that cannot be read must not become a commit
    table = read_table(data, schema, path)
    if table.num_rows != len(rows):
        raise ConflictError(f"{path}: {len(rows)} rows were written, {table.num_rows} read back")
    put_data(store, path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=digest, rows=len(rows)), table.to_pylist()


def _record(store: Store, data: bytes, unit: str, fingerprint: str) -> CommitRecord:
    where = f"{store.url}/{commit_path(unit, fingerprint)}"
    remedy = "restore it, or move it and snapshots/ away and run the job again, which redoes this unit"
    record = parse_record(CommitRecord, data, where, "a commit", remedy)
    if record.unit.name != unit or fingerprint not in (
        record.fingerprint,
        shorten_digest(record.fingerprint),
    ):
        raise ConflictError(
            f"{where} is about {record.unit.name} with {shorten_digest(record.fingerprint)}, expected {unit} with "
            f"{shorten_digest(fingerprint)}; {remedy}"
        )
    return record
