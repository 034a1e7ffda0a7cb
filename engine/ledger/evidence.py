"""Read evidence and rejections and check their digests: the rows are those that were committed."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from engine.ledger.snapshots.snapshots import snapshot_entries
from engine.storage.safe_parquet import read_table
from engine.storage.store import Store
from schemas.arrow import EVIDENCE, REJECTIONS
from schemas.digests import sha256_hex
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import DataFile, Snapshot, SnapshotEntry
from schemas.rows import EvidenceRow, rows_of


def read_evidence(store: Store, entry: SnapshotEntry) -> pa.Table:
    """Read the evidence rows of a committed unit. Raises ConflictError if a byte differs from the commit."""
    return _read_checked(store, entry.evidence, EVIDENCE)


def read_rejections(store: Store, entry: SnapshotEntry) -> pa.Table:
    """Read the rejections of a committed unit, maybe none. Raises ConflictError as `read_evidence` does."""
    if entry.rejections is None:
        return REJECTIONS.empty_table()
    return _read_checked(store, entry.rejections, REJECTIONS)


def evidence_rows(store: Store, snapshot: Snapshot) -> Iterator[EvidenceRow]:
    """Yield all evidence rows of a snapshot in unit and index order."""
    for entry in snapshot_entries(store, snapshot):
        yield from rows_of(read_evidence(store, entry), EvidenceRow)


def _read_checked(store: Store, file: DataFile, schema: pa.Schema) -> pa.Table:
    where = f"{store.url}/{file.path}"
    folder = f"commits/{file.path.split('/')[1]}"
    remedy = f"restore the file, or move snapshots/ and {folder} away and run the job again, which redoes this unit"
    try:
        data = store.read(file.path)
    except NotFoundError as error:
        raise ConflictError(f"{where} is missing although a commit refers to it; {remedy}") from error
    if len(data) != file.size_bytes or sha256_hex(data) != file.sha256:
        raise ConflictError(
            f"{where}: {len(data)} bytes with sha256 {sha256_hex(data)[:16]}..., expected {file.size_bytes} with "
            f"{file.sha256[:16]}...; {remedy}"
        )
    table = read_table(data, schema, where)
    if table.num_rows != file.rows:
        raise ConflictError(f"{where}: {table.num_rows} rows, expected {file.rows}; {remedy}")
    return table
