"""How far an output is, from its newest snapshot."""

from __future__ import annotations

from typing import Any

from engine.ledger.snapshots.file_check import check_segments
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.snapshots.summary import summarize
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store


def status(url: str, storage: StorageSettings | None = None) -> dict[str, Any]:
    """The summary as of the newest snapshot; a running job publishes one every few seconds.

    raises: NotFoundError where nothing was published; ConflictError when a file that the snapshot itself names is
            gone. Data files are not looked for: `verify` reads them
    """
    return status_of(open_store(url, storage))


def status_of(store: Store) -> dict[str, Any]:
    """As `status`, of an open store."""
    snapshot = latest_snapshot(store)
    check_segments(store, snapshot)
    return summarize(snapshot)
