"""The commit protocol: a unit becomes done exactly once, even if processes die or race.

Data files are named by their digest and written first. The commit record, put if absent, then decides. A writer that
lost the race or the answer reads the existing record (docs/ledger.md). No clock and no lock is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from schemas.rows import EvidenceRow, RejectionRow, rows_of

ROW_GROUP_ROWS = 256


def commit_unit(
    store: Store, unit: Unit, parts: FingerprintParts, result: UnitResult, provenance: Mapping[str, str]
) -> CommitRecord:
    """Commit a unit. Return the record that exists afterwards: ours, or that of the first writer.

    raises: ValueError if the samples do not add up, ConflictError if the written data reads back differently
    """
    fingerprint = parts.fingerprint()
    metadata = {"groundswell.unit": unit.name, "groundswell.fingerprint": fingerprint, **provenance}
    place = f"{unit.name}/{shorten_digest(fingerprint)}"  # the path names the commit that decides on it
    rejections, refused = None, list[RejectionRow]()
    try:
        evidence, table = _put_table(store, f"data/{place}", result.rows, EVIDENCE, metadata)
        rows = rows_of(table, EvidenceRow)
        if result.rejections:
            rejections, table = _put_table(
                store, f"rejected/{place}", result.rejections, REJECTIONS, metadata
            )
            refused = rows_of(table, RejectionRow)
    except NotFoundError as error:
        # The file is garbage-collected already. That happens only to files that lost to an existing record.
        if (other := read_commit(store, unit.name, fingerprint)) is None:
            raise OSError(f"{error}, although it was just written and no commit exists") from error
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
    stored = put_record(store, commit_path(unit.name, fingerprint), record)
    return _parse_commit(store, stored, unit.name, fingerprint)


def read_commit(store: Store, unit: str, fingerprint: str) -> CommitRecord | None:
    """Return the commit record of a unit under a fingerprint; None if it is not done."""
    try:
        data = store.read(commit_path(unit, fingerprint))
    except NotFoundError:
        return None
    return _parse_commit(store, data, unit, fingerprint)


def read_commit_by_short_fingerprint(store: Store, unit: str, fingerprint16: str) -> CommitRecord | None:
    """Read a commit as `read_commit` does, by the first 16 digits of the fingerprint, as in the path of a file."""
    try:
        data = store.read(commit_path(unit, fingerprint16))
    except NotFoundError:
        return None
    return _parse_commit(store, data, unit, fingerprint16)


def to_snapshot_entry(record: CommitRecord) -> SnapshotEntry:
    """Convert a commit to the entry that a snapshot lists."""
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
    """Return the path of the commit record of a unit under a fingerprint."""
    return f"commits/{unit}/{shorten_digest(fingerprint)}.json"


def record_bytes(record: BaseModel) -> bytes:
    """Serialize a record; equal records give equal bytes."""
    return canonical_json(record.model_dump(mode="json")) + b"\n"


def put_record(store: Store, path: str, record: BaseModel) -> bytes:
    """Put a record if its name is free. Return the bytes under the name afterwards, ours or another writer's.

    After an error the outcome is unknown. Then the put is retried, which is safe, and nothing is cleaned up.
    """
    data = record_bytes(record)
    if run_with_retries(lambda: store.put_if_absent(path, data)):
        return data
    return store.read(path)


def put_data(store: Store, path: str, data: bytes) -> None:
    """Put a file that a record will name, and check its size.

    raises: OSError if the size differs or the store keeps failing; NotFoundError if the file was garbage-collected in
            the meantime
    """

    def put_and_check() -> None:
        store.put(path, data)
        if (stored := store.size(path)) != len(data):
            raise OSError(
                f"{store.url}/{path}: {stored} of {len(data)} bytes were stored; the store altered the data; run "
                f"`groundswell doctor --store {store.url}`"
            )

    run_with_retries(put_and_check)


def _put_table(
    store: Store,
    folder: str,
    rows: Sequence[EvidenceRow] | Sequence[RejectionRow],
    schema: pa.Schema,
    metadata: Mapping[str, str],
) -> tuple[DataFile, pa.Table]:
    """Write rows under their digest. Return the file as it will be committed, and the table as a reader sees it."""
    data = table_bytes(build_table(rows, schema, dict(metadata)), ROW_GROUP_ROWS)
    digest = sha256_hex(data)
    path = f"{folder}/{digest[:16]}.parquet"
    # read back first: a file that cannot be read must not become a commit
    table = read_table(data, schema, path)
    if table.num_rows != len(rows):
        raise ConflictError(
            f"{path}: {len(rows)} rows were written, {table.num_rows} read back; report this defect"
        )
    put_data(store, path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=digest, rows=len(rows)), table


def _parse_commit(store: Store, data: bytes, unit: str, fingerprint: str) -> CommitRecord:
    where = f"{store.url}/{commit_path(unit, fingerprint)}"
    remedy = "restore it, or move it and snapshots/ away and run the job again, which redoes this unit"
    record = parse_record(CommitRecord, data, where, "a commit", remedy)
    if record.unit.name != unit or fingerprint not in (
        record.fingerprint,
        shorten_digest(record.fingerprint),
    ):
        raise ConflictError(
            f"{where} describes {record.unit.name} with {shorten_digest(record.fingerprint)}, expected {unit} with "
            f"{shorten_digest(fingerprint)}; {remedy}"
        )
    return record
