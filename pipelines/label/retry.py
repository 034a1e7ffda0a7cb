"""Redo what failed: the failed units of an output's newest snapshot, and shards that were missing or damaged.

Promise: nothing that is committed is redone, and nothing else is begun: the job is the one that the output keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.driver.label_run import Labelling
from engine.ledger.snapshots.snapshots import failed_units, latest_snapshot
from engine.ledger.snapshots.summary import summarize
from engine.storage.store import Store, open_store
from pipelines.config.load import settings_of
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import newest_progress
from pipelines.label.rejection_limit import judge, record_limit
from pipelines.label.run import start
from pipelines.label.run_records import read_job
from pipelines.label.teacher_spec import TEACHER, Factories
from schemas.digests import shorten_digest
from schemas.errors import ConfigError, ConflictError
from schemas.progress import ProgressCallback

QUARANTINED = (
    "{count} committed units hold a sample that crashed, hung or ate the memory; that is their result, and retry "
    "leaves it. To ask about such samples again, list their keys (code CRASH, TIMEOUT or OOM in the rejections) in a "
    "file and label with --set input.only=FILE into another output, or change the teacher: that is another fingerprint"
)

_SAID_ANEW = {"address", "allow_unauthenticated"}


def retry(
    url: str,
    overrides: Sequence[str] = (),
    address: str | None = None,
    progress: ProgressCallback | None = None,
    factories: Factories = TEACHER,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Redo the failed units of an output; the summary of docs/interfaces.md, and `redone`: units and shards handed out.

    overrides: `run.actors.max=8`, `input.storage.profile=x`: how to run and to reach buckets, nothing of the job
    raises:    NotFoundError without a snapshot or a job record; ConfigError when an override makes it another job;
               ConflictError when inputs or teacher are others than those of the committed units
    """
    store = open_store(url)
    before = latest_snapshot(store)
    job = _kept_job(store, before.job_digest, overrides)
    summary = summarize(before)
    if summary["units"]["quarantined"]:
        say(QUARANTINED.format(count=summary["units"]["quarantined"]))
    if not before.failed_units:
        pending = summary["units"]["pending"]
        say(
            f"nothing failed in {store.url}"
            + (f"; {pending} units are pending, `label` does those" if pending else "")
        )
        record_limit(store, job.run.max_rejected)
        judged = judge(summary, job.run.max_rejected).data()
        return {**summary, "output": store.url, "judged": judged, "redone": 0}

    redone = 0

    def narrow(work: Labelling) -> None:
        if work.committed < summary["units"]["committed"]:
            raise ConflictError(
                f"{summary['units']['committed'] - work.committed} committed units are of other inputs, another "
                "teacher, other phrases or another reading of keys than there are now; `groundswell label` with the "
                "job's file redoes them"
            )
        nonlocal redone
        redone = work.keep_only(failed_units(store, before))
        say(f"redoing {redone} of {before.failed_units} failed units and shards")

    summary_now = start(job, factories, address, progress, narrowed=narrow)
    return {**summary_now, "redone": redone}


def _kept_job(store: Store, digest: str, overrides: Sequence[str]) -> JobConfig:
    """The job as the output keeps it; run settings as those of the last run, where its progress tells them.

    Not those that say to whom our code and credentials go: whoever may write to the output could name a cluster.
    """
    record, told = read_job(store, digest), newest_progress(store)
    values = {**record.job, "output": {"url": store.url}}
    if told is not None:
        values["run"] = told.settings.model_dump(mode="json", exclude=_SAID_ANEW)
    job = settings_of(values, JobConfig, overrides, f"{store.url}/jobs/{shorten_digest(digest)}.json")
    if job.digest() != digest:
        raise ConfigError(
            f"{' '.join(overrides)} makes it another job; retry redoes units of the one in {store.url}, so --set takes "
            "run and storage alone; use `groundswell label` for a changed job"
        )
    return job
