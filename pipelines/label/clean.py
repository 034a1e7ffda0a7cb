"""Clean an output: delete files that no record names or can still name."""

from __future__ import annotations

from typing import TypedDict

from engine.ledger.garbage import collect_garbage
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.settings import StorageSettings
from engine.storage.store import open_store


class CleanReport(TypedDict):
    """The JSON of `clean`, see docs/interfaces.md: deleted files, half-written ones, and numbers of files left."""

    deleted: list[str]
    swept: list[str]
    undecided: int
    foreign: int


def clean(url: str, storage: StorageSettings | None = None) -> CleanReport:
    """Delete an output's orphaned files. Raises NotFoundError if there is no output."""
    store = open_store(url, storage)
    latest_snapshot(store)  # raises NotFoundError for a wrong folder before anything is listed
    collected = collect_garbage(store)
    return {
        "deleted": list(collected.deleted),
        "swept": list(collected.abandoned),
        "undecided": collected.undecided,
        "foreign": collected.foreign,
    }


def format_report(report: CleanReport) -> str:
    """Format the report for people."""
    lines = [
        f"deleted {len(report['deleted'])} files that no commit uses, and {len(report['swept'])} half-written files",
        f"left {report['undecided']} files that a commit or snapshot may still name",
    ]
    if report["foreign"]:
        lines.append(f"left {report['foreign']} files whose names are not of this version's form")
    return "\n".join(lines)
