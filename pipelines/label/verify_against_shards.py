"""`verify --deep`: check every committed file as `verify` does, then read every input again.

Evidence that passes was labeled from the bytes that its shards have now.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from engine.ledger.records import unreadable_error
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.snapshots.summary import Summary
from engine.ledger.verify import ProblemList, verify
from engine.ledger.verify_deep import InputVerifier
from engine.settings import InputSettings, StorageSettings
from engine.storage.store import Store, open_store
from pipelines.label.run_records import read_job
from schemas.digests import shorten_digest
from schemas.progress import ProgressCallback


def verify_deep(
    url: str,
    progress: ProgressCallback | None = None,
    storage: StorageSettings | None = None,
    input_storage: StorageSettings | None = None,
    roots: Mapping[str, str] | None = None,
) -> Summary:
    """Check the newest snapshot's files and rows, compare each sample with its shard, and return `verify`'s summary.

    storage:       access to the output
    input_storage: access to the shards; the output does not record it, since it is not part of a job's identity
    roots:         old and new URL prefixes of shards that moved
    raises: as `verify`; ConflictError names the differences, at most 50 of them
    """
    summary = verify(url, progress, storage)
    store = open_store(url, storage)
    snapshot = latest_snapshot(store)
    settings = read_input_settings(store, snapshot.job_digest).model_copy(update={"storage": input_storage})
    inputs = InputVerifier(settings, roots)
    problems = ProblemList()
    for done, entry in enumerate(snapshot_entries(store, snapshot), 1):
        problems.add_unit(entry.unit, inputs.problems(store, entry))
        if progress is not None:
            progress("inputs", done, snapshot.totals.units)
    problems.raise_if_any(store.url, "differences")
    return summary


def read_input_settings(store: Store, job_digest: str) -> InputSettings:
    """Read the `input` section of the job that an output recorded. Raises NotFoundError, ConflictError."""
    record = read_job(store, job_digest)
    try:
        settings = InputSettings.model_validate(record.job.get("input"))
        phrases = record.job.get("phrases")
        given = phrases.get("given", ()) if isinstance(phrases, dict) else ()
        return InputSettings.model_validate({**settings.model_dump(), "phrases": given})
    except ValidationError as error:
        where = f"{store.url}/jobs/{shorten_digest(job_digest)}.json"
        raise unreadable_error(where, "the record of a job", error, "label into another output") from error
