"""How far an output is, from its newest snapshot."""

from __future__ import annotations

from typing import Any

from engine.ledger.snapshots import latest_snapshot
from engine.ledger.summary import summarise
from engine.settings import StorageSettings
from engine.storage import open_store


def status(url: str, storage: StorageSettings | None = None) -> dict[str, Any]:
    """The summary as of the newest snapshot; a running job publishes one every few seconds. Raises NotFound."""
    return summarise(latest_snapshot(open_store(url, storage)))
