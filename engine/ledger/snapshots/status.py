"""How far an output is, from its newest snapshot."""

from __future__ import annotations

from engine.ledger.snapshots.file_check import check_segments
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.snapshots.summary import summarise
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store
from schemas.summary import Summary


def status(url: str, storage: StorageSettings | None = None) -> Summary:
    """The summary as of the newest snapshot; a running job publishes one every few seconds.

    raises: NotFound where nothing was published; Conflict when a file that the snapshot itself names is gone. Data
            files are not looked for: `verify` reads them
    """
    return status_of(open_store(url, storage))


def status_of(store: Store) -> Summary:
    """As `status`, of an open store."""
    snapshot = latest_snapshot(store)
    check_segments(store, snapshot)
    return summarise(snapshot)
