"""The numbers that `label`, `status` and `verify` print: what is done, what is left, what it holds."""

from __future__ import annotations

from schemas.ledger import Snapshot
from schemas.summary import Summary


def summarise(snapshot: Snapshot) -> Summary:
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
        "failures": [
            {"unit": unit.unit, "shard": unit.shard, "code": unit.code, "detail": unit.detail}
            for unit in snapshot.failed
        ],
        "failures_not_listed": failed - len(snapshot.failed),
    }
