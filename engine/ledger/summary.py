"""The numbers that `label`, `status` and `verify` print: what is done, what is left, what it holds."""

from __future__ import annotations

from typing import Any

from engine.ledger.snapshots import total_counts
from schemas.ledger import Snapshot


def summarise(snapshot: Snapshot) -> dict[str, Any]:
    """The JSON of docs/interfaces.md. `planned = committed + failed + pending`.

    `digest` is over the rows' content in unit and index order: equal rows, equal digest.
    """
    counts = total_counts(snapshot.entries)
    committed, failed = len(snapshot.entries), len(snapshot.failed)
    return {
        "units": {
            "planned": snapshot.planned,
            "committed": committed,
            "failed": failed,
            "pending": snapshot.planned - committed - failed,
            "quarantined": sum(entry.quarantined for entry in snapshot.entries),
        },
        "samples": {
            "in": counts.samples_in,
            "labelled": counts.labelled,
            "empty": counts.empty,
            "rejected": counts.rejected,
        },
        "regions": sum(entry.regions for entry in snapshot.entries),
        "digest": snapshot.digest,
        "snapshot": snapshot.version,
        "job": snapshot.job_digest,
        "failures": [failed.model_dump() for failed in snapshot.failed],
    }
