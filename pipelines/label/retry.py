"""Redo what failed: the failed units of an output's newest snapshot, and shards that were missing or damaged.

No committed unit is redone and no other unit is begun. The job is the one that the output recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.driver.label_run import LabelRun
from engine.ledger.snapshots.snapshots import failed_units, latest_snapshot
from engine.ledger.snapshots.summary import summarize
from engine.storage.store import Store, open_store
from pipelines.config.load import parse_settings
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import load_latest_progress
from pipelines.label.rejection_limit import judge, record_limit
from pipelines.label.run import run_job
from pipelines.label.run_records import read_job
from pipelines.label.summary import LabelSummary, extend_summary
from pipelines.label.teacher_spec import TEACHER, Factories
from schemas.digests import shorten_digest
from schemas.errors import ConfigError, ConflictError
from schemas.progress import ProgressCallback

QUARANTINED = (
    "{count} committed units contain a sample that crashed, hung or used too much memory. That is their result, and "
    "retry does not redo them. To label such samples again, list their keys (code CRASH, TIMEOUT or OOM in the "
    "rejections) in a file and label with --set input.only=FILE into another output, or change the teacher, which "
    "gives the units another fingerprint"
)

_NOT_INHERITED = {"address", "allow_unauthenticated"}


def retry(
    url: str,
    overrides: Sequence[str] = (),
    address: str | None = None,
    progress: ProgressCallback | None = None,
    factories: Factories = TEACHER,
    say: Callable[[str], None] = lambda text: None,
) -> LabelSummary:
    """Redo the failed units of an output; return its summary with `redone`, the number of units and shards dispatched.

    overrides: `run.actors.max=8`, `input.storage.profile=x`: run settings and storage access, nothing of the job
    raises:    NotFoundError without a snapshot or a job record; ConfigError when an override makes it another job;
               ConflictError when inputs or teacher differ from those of the committed units
    """
    store = open_store(url)
    before = latest_snapshot(store)
    job = _load_job(store, before.job_digest, overrides)
    summary = extend_summary(summarize(before))
    if summary["units"]["quarantined"]:
        say(QUARANTINED.format(count=summary["units"]["quarantined"]))
    if not before.failed_units:
        pending = summary["units"]["pending"]
        say(
            f"nothing failed in {store.url}"
            + (f"; {pending} units are pending, run `groundswell label` for them" if pending else "")
        )
        record_limit(store, job.run.max_rejected)
        judged = judge(summary, job.run.max_rejected).data()
        return {**summary, "output": store.url, "judged": judged, "redone": 0}

    redone = 0

    def narrow(work: LabelRun) -> None:
        if work.num_committed < summary["units"]["committed"]:
            raise ConflictError(
                f"{summary['units']['committed'] - work.num_committed} committed units were made with other inputs, "
                "another teacher, other phrases or other keys than now; run `groundswell label` with the job file to "
                "redo them"
            )
        nonlocal redone
        redone = work.keep_only(failed_units(store, before))
        say(f"redoing {redone} of {before.failed_units} failed units and shards")

    summary_now = run_job(job, factories, address, progress, narrow=narrow)
    return {**summary_now, "redone": redone}


def _load_job(store: Store, digest: str, overrides: Sequence[str]) -> JobConfig:
    """Load the recorded job, with the run settings of the last run if its progress record has them.

    Settings that name a cluster are not taken over: anybody who can write to the output could send our code and
    credentials to a cluster of their own.
    """
    record, latest = read_job(store, digest), load_latest_progress(store)
    values = {**record.job, "output": {"url": store.url}}
    if latest is not None:
        values["run"] = latest.settings.model_dump(mode="json", exclude=_NOT_INHERITED)
    job = parse_settings(values, JobConfig, overrides, f"{store.url}/jobs/{shorten_digest(digest)}.json")
    if job.digest() != digest:
        raise ConfigError(
            f"--set {' '.join(overrides)} changes the job; retry redoes units of the job in {store.url}, so expected "
            "only fields of run and storage; run `groundswell label` for a changed job"
        )
    return job
