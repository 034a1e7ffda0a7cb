"""Evidence as a policy reads it: one snapshot, its settings, and its rows in unit and index order.

The rows are those of the snapshot's commit records, each file checked against its digest. All have one kind of score
and one set of evidence settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pydantic import ValidationError

from engine.ledger.evidence import read_evidence, read_rejections
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store
from schemas.decoys import DecoyPool, parse_pool, pool_path
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import Snapshot
from schemas.rows import EvidenceRow, RejectionRow, rows_of
from schemas.settings import EvidenceSettings

SCORE_KIND, SETTINGS = "groundswell.score_kind", "groundswell.evidence"  # keys of an evidence file's metadata
POOL = "groundswell.decoys"


@dataclass(frozen=True)
class Evidence:
    """An opened snapshot of evidence."""

    store: Store
    snapshot: Snapshot
    settings: EvidenceSettings
    score_kind: str
    pool: DecoyPool | None = None
    """Of its decoys, where it has any."""

    def tables(self) -> Iterator[pa.Table]:
        """Yield the evidence of each unit in unit order, one in memory at a time.

        Raises ConflictError for a unit with other settings: scores of two teachers cannot be compared.
        """
        for entry in snapshot_entries(self.store, self.snapshot):
            table = read_evidence(self.store, entry)
            if read_metadata(table, entry.unit) != (self.settings, self.score_kind):
                raise ConflictError(
                    f"{entry.unit}: {read_metadata(table, entry.unit)} differs from the first unit's "
                    f"{(self.settings, self.score_kind)}; units were labeled with different settings; use one output "
                    "per teacher"
                )
            yield table

    def rows(self) -> Iterator[EvidenceRow]:
        """Yield evidence rows in unit and index order. Raises ConflictError as `tables`."""
        for table in self.tables():
            yield from rows_of(table, EvidenceRow)

    def rejections(self) -> Iterator[RejectionRow]:
        """Yield rejection rows in the same order."""
        for entry in snapshot_entries(self.store, self.snapshot):
            yield from rows_of(read_rejections(self.store, entry), RejectionRow)


def open_evidence(url: str, storage: StorageSettings | None = None) -> Evidence:
    """Open the latest snapshot of an output of `label`. Raises NotFoundError if nothing is committed there."""
    store = open_store(url, storage)
    snapshot = latest_snapshot(store)
    first = next(snapshot_entries(store, snapshot), None)
    if first is None:
        raise NotFoundError(f"{url} has no committed unit; run `groundswell label` first")
    table = read_evidence(store, first)
    settings, score_kind = read_metadata(table, first.unit)
    return Evidence(store, snapshot, settings, score_kind, _load_pool(table, store))


def _load_pool(table: pa.Table, store: Store) -> DecoyPool | None:
    digest = (table.schema.metadata or {}).get(POOL.encode())
    if digest is None:
        return None
    path = pool_path(digest.decode())
    try:
        return parse_pool(store.read(path), digest.decode(), f"{store.url}/{path}")
    except NotFoundError as error:
        raise ConflictError(f"{error}, but its evidence has decoys of it; restore it from a copy") from error


def read_metadata(table: pa.Table, unit: str) -> tuple[EvidenceSettings, str]:
    """Return the evidence settings and the kind of score in a table's metadata. Raises ConflictError without them."""
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    try:
        return EvidenceSettings.model_validate_json(metadata[SETTINGS]), metadata[SCORE_KIND]
    except (KeyError, ValidationError) as error:
        raise ConflictError(
            f"{unit}: its evidence has no teacher metadata ({error}); label it again"
        ) from error
