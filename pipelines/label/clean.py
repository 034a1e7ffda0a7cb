"""Clean an output: what lost a race or was left half-written goes, and nothing that a record names or may name."""

from __future__ import annotations

from typing import Any

from engine.ledger.garbage import collect_garbage
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.settings import StorageSettings
from engine.storage.store import open_store


def clean(url: str, storage: StorageSettings | None = None) -> dict[str, Any]:
    """Collect an output's orphans; the JSON of docs/interfaces.md. Raises NotFoundError where no output is."""
    store = open_store(url, storage)
    latest_snapshot(store)  # a wrong folder is said to be one before anything is looked at
    collected = collect_garbage(store)
    return {
        "deleted": list(collected.deleted),
        "swept": list(collected.abandoned),
        "undecided": collected.undecided,
        "foreign": collected.foreign,
    }


def clean_text(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [
        f"deleted {len(report['deleted'])} files that lost a race, and {len(report['swept'])} half-written ones",
        f"left {report['undecided']} files that no commit or snapshot decides on yet",
    ]
    if report["foreign"]:
        lines.append(f"left {report['foreign']} files whose names are not of this version's form")
    return "\n".join(lines)
