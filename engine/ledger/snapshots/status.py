"""The progress of an output, from its latest snapshot."""

from __future__ import annotations

from engine.ledger.snapshots.file_check import check_segments
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.snapshots.summary import Summary, summarize
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store


def status(url: str, storage: StorageSettings | None = None) -> Summary:
    """Return the summary of the latest snapshot; a running job publishes one every few seconds.

    raises: NotFoundError if nothing was published; ConflictError if a file that the snapshot itself names is missing.
            Data files are not checked: `verify` reads them
    """
    return status_of(open_store(url, storage))


def status_of(store: Store) -> Summary:
    """Return the same for an open store."""
    snapshot = latest_snapshot(store)
    check_segments(store, snapshot)
    return summarize(snapshot)
