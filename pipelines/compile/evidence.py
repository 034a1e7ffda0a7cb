"""Evidence as a policy reads it: one snapshot, the settings it was taken with, its rows in unit and index order.

Its promise: the rows are those of the snapshot's commit records, each file checked against its digest, and all of
them were taken with one kind of score under one set of evidence settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from engine.ledger.evidence import read_evidence, read_rejections
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store
from schemas.decoys import DecoyPool, parse_pool, pool_path
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import Snapshot
from schemas.settings import EvidenceSettings

SCORE_KIND, SETTINGS = "groundswell.score_kind", "groundswell.evidence"  # keys of an evidence file's metadata
POOL = "groundswell.decoys"


@dataclass(frozen=True)
class Evidence:
    """A snapshot of evidence that was opened."""

    store: Store
    snapshot: Snapshot
    settings: EvidenceSettings
    score_kind: str
    pool: DecoyPool | None = None
    """Of its decoys, where it has any."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Evidence rows in unit and index order, one unit in memory at a time.

        Raises ConflictError for a unit that was taken otherwise: scores of two teachers do not compare.
        """
        for entry in snapshot_entries(self.store, self.snapshot):
            table = read_evidence(self.store, entry)
            if taken_with(table, entry.unit) != (self.settings, self.score_kind):
                raise ConflictError(
                    f"{entry.unit}: {taken_with(table, entry.unit)} differs from the first unit's "
                    f"{(self.settings, self.score_kind)}: compile evidences of different teachers apart"
                )
            yield from table.to_pylist()

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Rejection rows in the same order."""
        for entry in snapshot_entries(self.store, self.snapshot):
            yield from read_rejections(self.store, entry).to_pylist()


def open_evidence(url: str, storage: StorageSettings | None = None) -> Evidence:
    """The latest snapshot of an output of `label`. Raises NotFoundError when nothing is committed there."""
    store = open_store(url, storage)
    snapshot = latest_snapshot(store)
    first = next(snapshot_entries(store, snapshot), None)
    if first is None:
        raise NotFoundError(f"{url} holds no committed unit yet: `groundswell label` it first")
    table = read_evidence(store, first)
    settings, score_kind = taken_with(table, first.unit)
    return Evidence(store, snapshot, settings, score_kind, _pool_of(table, store))


def _pool_of(table: pa.Table, store: Store) -> DecoyPool | None:
    digest = (table.schema.metadata or {}).get(POOL.encode())
    if digest is None:
        return None
    path = pool_path(digest.decode())
    try:
        return parse_pool(store.read(path), digest.decode(), f"{store.url}/{path}")
    except NotFoundError as error:
        raise ConflictError(f"{error}, but its evidence has decoys of it; restore it from a copy") from error


def taken_with(table: pa.Table, unit: str) -> tuple[EvidenceSettings, str]:
    """The evidence settings and the kind of score in a table's metadata. Raises ConflictError without them."""
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    try:
        return EvidenceSettings.model_validate_json(metadata[SETTINGS]), metadata[SCORE_KIND]
    except (KeyError, ValidationError) as error:
        raise ConflictError(
            f"{unit}: its evidence does not say how it was taken ({error}); label it again"
        ) from error
