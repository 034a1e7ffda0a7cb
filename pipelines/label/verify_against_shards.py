"""`verify --deep`: every committed file as `verify` reads it, and then every input again.

Promise: what passes was labelled from the very bytes that its shards hold now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from engine.ledger.records import unreadable_error
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
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
) -> dict[str, Any]:
    """Check the newest snapshot's files and rows, and compare each sample with its shard; the summary of `verify`.

    storage:       how the output is reached
    input_storage: how the shards are reached; the output does not know, since it is no part of a job's identity
    roots:         URL prefixes of shards that moved, and what stands for them now
    raises: as `verify`; ConflictError names what differs, the first 50 of many
    """
    summary = verify(url, progress, storage)
    store = open_store(url, storage)
    snapshot = latest_snapshot(store)
    settings = job_input(store, snapshot.job_digest).model_copy(update={"storage": input_storage})
    inputs = InputVerifier(settings, roots)
    problems = ProblemList()
    for done, entry in enumerate(snapshot_entries(store, snapshot), 1):
        problems.add_unit(entry.unit, inputs.problems(store, entry))
        if progress is not None:
            progress("inputs", done, snapshot.totals.units)
    problems.raise_if_any(store.url, "differences")
    return summary


def job_input(store: Store, job_digest: str) -> InputSettings:
    """The `input` section of the job that an output was made for. Raises NotFoundError, ConflictError."""
    record = read_job(store, job_digest)
    try:
        return InputSettings.model_validate(record.job.get("input"))
    except ValidationError as error:
        where = f"{store.url}/jobs/{shorten_digest(job_digest)}.json"
        raise unreadable_error(where, "the record of a job", error, "label into another output") from error
