"""The numbers that `label`, `status` and `verify` print: what is done, what is left, what it holds."""

from __future__ import annotations

from typing import Any

from schemas.ledger import Snapshot


def summarize(snapshot: Snapshot) -> dict[str, Any]:
    """The JSON of docs/interfaces.md. `planned = committed + failed + pending`.

    `digest` is over the rows' content: equal rows of equal units, equal digest. `failures` lists the first thousand.
    """
    totals, failed = snapshot.totals, snapshot.failed_units
    counts, committed = totals.samples, totals.units
    return {
        "units": {
            "planned": snapshot.planned,
            "committed": committed,
            "failed": failed,
            "pending": snapshot.planned - committed - failed,
            "quarantined": totals.quarantined,
        },
        "samples": {
            "in": counts.samples_in,
            "labelled": counts.labelled,
            "empty": counts.empty,
            "rejected": counts.rejected,
        },
        "regions": totals.regions,
        "digest": snapshot.digest,
        "snapshot": snapshot.version,
        "job": snapshot.job_digest,
        "failures": [fate.model_dump() for fate in snapshot.failed],
        "failures_not_listed": failed - len(snapshot.failed),
    }
