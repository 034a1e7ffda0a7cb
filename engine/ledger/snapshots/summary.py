"""The numbers that `label`, `status` and `verify` print: what is done, what is left, and what the output has."""

from __future__ import annotations

from typing import TypedDict

from pydantic import JsonValue

from schemas.ledger import Snapshot

SamplesSummary = TypedDict(
    "SamplesSummary", {"in": int, "labelled": int, "empty": int, "rejected": dict[str, int]}
)


class UnitsSummary(TypedDict):
    """Counts of units by state."""

    planned: int
    committed: int
    failed: int
    pending: int
    quarantined: int


class Summary(TypedDict):
    """The JSON of docs/interfaces.md. `planned = committed + failed + pending`.

    `digest` covers the content of the rows: equal rows of equal units give an equal digest. `failures` lists the first
    thousand failed units.
    """

    units: UnitsSummary
    samples: SamplesSummary
    regions: int
    digest: str
    snapshot: int
    job: str
    failures: list[dict[str, JsonValue]]
    failures_not_listed: int


def summarize(snapshot: Snapshot) -> Summary:
    """Return the summary of a snapshot."""
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
        "failures": [unit.model_dump() for unit in snapshot.failed],
        "failures_not_listed": failed - len(snapshot.failed),
    }
