"""Label: run a job up to a published snapshot.

The same call again continues where the last one ended, however it ended, and gives the same rows.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engine.driver.dispatch import run_tasks
from engine.driver.label_run import LabelRun
from engine.executors.local import LocalPool
from engine.ledger.snapshots.file_check import check_files
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.snapshots.summary import summarize
from engine.settings import OutputSettings
from engine.storage.conditional_put_check import check_store
from engine.storage.filesystems import absolute_url
from engine.task import Pool, WorkerSpec
from engine.telemetry import logs
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import make_run_name
from pipelines.label.progress.reporter import RunProgress, write_progress
from pipelines.label.rejection_limit import judge, record_limit
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.run_records import PlanRecord
from pipelines.label.summary import LabelSummary, extend_summary
from pipelines.label.teacher_spec import TEACHER, Factories
from pipelines.label.train_overlap import count_trained_images
from pipelines.terminal.interrupt import drain_on_signal
from schemas.digests import shorten_digest
from schemas.errors import ConfigError, ConflictError, NotFoundError
from schemas.progress import ProgressCallback

log = logging.getLogger(__name__)


def label(
    job: JobConfig,
    limit: int | None = None,
    keep: str | None = None,
    address: str | None = None,
    progress: ProgressCallback | None = None,
    factories: Factories = TEACHER,
    frozen: PlanRecord | None = None,
) -> LabelSummary:
    """Run or resume a job; return the summary of docs/interfaces.md.

    limit:   label only this many samples, into a separate output that is deleted at the end
    keep:    with a limit, the folder where this output is kept instead
    address: a running Ray cluster; default `run.address`, then RAY_ADDRESS, then a new one on this machine
    frozen:  a plan made before; ConflictError when a shard, the job, the teacher or the phrases have changed since
    raises:  KeyboardInterrupt after Ctrl-C, once the running units are finished and published;
             errors of `schemas.errors`. Failed units do not raise: the summary counts and lists them. Rejected samples
             do not raise: `judged` says whether there are more than `run.max_rejected` allows
    """
    if limit is None:
        if keep is not None:
            raise ConfigError(
                "--keep is for the output of a trial run; add --limit N, or leave --keep out to write to output.url"
            )
        return run_job(job, factories, address, progress, frozen=frozen)
    with temporary_output(keep) as url:
        if absolute_url(url) == absolute_url(job.output.url):
            raise ConfigError(f"--keep {url} is the output.url of the job; choose another folder")
        job = job.model_copy(update={"output": OutputSettings(url=url)})
        summary = run_job(job, factories, address, progress, limit, frozen)
    return {**summary, "output": summary["output"] if keep else None}


def run_job(
    job: JobConfig,
    factories: Factories,
    address: str | None = None,
    progress: ProgressCallback | None = None,
    limit: int | None = None,
    frozen: PlanRecord | None = None,
    narrow: Callable[[LabelRun], None] = lambda work: None,
    watch: Callable[[RunProgress], None] = lambda progress: None,
) -> LabelSummary:
    """Run a job into its own output. narrow: called to remove units from the work; watch: called with the progress."""
    resolved = ResolvedJob.resolve(job, factories, frozen)
    if limit is not None:
        _refuse_other_job(resolved)
    if not resolved.store.is_local:  # a local disk either supports hard links or reports that it does not
        check_store(resolved.store, job.run.single_writer)
    work = resolved.begin(progress, limit)
    work.find_committed()
    _check_files(work)
    narrow(work)
    resolved.write_records()
    work.record_facts()
    work.publish()
    if work.has_next():
        run = _Run.create(resolved, work)
        watch(run.progress)
        run.drive(address or job.run.address)
    else:
        record_limit(resolved.store, job.run.max_rejected)
    if limit is not None:
        work.drop_unread()
    summary = extend_summary(summarize(work.publish()))
    summary["output"] = resolved.store.url
    if selection := resolved.selection_totals():
        summary["selection"] = selection
    summary["judged"] = judge(summary, job.run.max_rejected).data()
    if overlap := count_trained_images(resolved.store, job.teacher):
        summary["seen_in_training"] = overlap
    return summary


def _refuse_other_job(resolved: ResolvedJob) -> None:
    """Raise ConflictError if a trial run would replace the evidence of another job by less."""
    try:
        newest = latest_snapshot(resolved.store)
    except NotFoundError:
        return
    if newest.job_digest != resolved.job.digest():
        raise ConflictError(
            f"--keep {resolved.store.url} contains the evidence of another job, {shorten_digest(newest.job_digest)}; "
            "expected a new or empty folder, or an earlier output of the same job; choose another folder"
        )


def _check_files(work: LabelRun) -> None:
    """Check that the files of the committed units still exist. Raises ConflictError if one is missing."""
    newest = work.latest
    if newest is not None and not check_files(work.store, newest, work.plan.admits):
        log.warning(
            "%d units are committed, too many to check their files now; `groundswell verify %s` checks them",
            newest.totals.units,
            work.store.url,
        )


@contextmanager
def temporary_output(keep: str | None = None) -> Iterator[str]:
    """Yield a folder for an output: `keep`, or one that is deleted at the end."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="groundswell-limit-") as folder:
        yield folder


@contextmanager
def run_finally(*steps: Callable[[], object]) -> Iterator[None]:
    """After the block, however it ends, run every step. Raise the first error; later ones become its notes."""
    first: BaseException | None = None
    try:
        yield
    except BaseException as error:
        first = error
    for step in steps:
        try:
            step()
        except Exception as error:
            if first is None:
                first = error
            else:
                first.add_note(f"and then {type(error).__name__}: {error}")
    if first is not None:
        raise first


@dataclass(frozen=True)
class _Run:
    """One run of a job that has work to do."""

    resolved: ResolvedJob
    work: LabelRun
    spec: WorkerSpec
    progress: RunProgress

    @classmethod
    def create(cls, resolved: ResolvedJob, work: LabelRun) -> _Run:
        job, name = resolved.job, make_run_name()
        progress = RunProgress(
            name, job.digest(), resolved.plan_record().digest(), job.run, job.input.unit_samples, job.price
        )
        progress.begin(work.count_planned(), work.count_done(), work.count_unread())
        spec = resolved.spec.model_copy(
            update={"run_name": name, "log": logs.current_settings(), "epoch": work.claim_epoch()}
        )
        return cls(resolved, work, spec, progress)

    def drive(self, address: str | None) -> None:
        """Work until no unit is due. Raises KeyboardInterrupt if a signal ended it early."""
        store, name, grace_s = self.resolved.store, self.progress.run, self.resolved.job.run.grace_s
        with (
            logs.log_context(run=name),
            drain_on_signal(grace_s) as stop,
            write_progress(self.progress, store, stop) as stop.before_forced_exit,
        ):
            pool = self._open_pool(address, stop)
            # publish first: closing takes seconds, for which a signal may leave no time
            with run_finally(self.work.publish, pool.close):
                run_tasks(pool, self.work, stop, self.progress)
            if stop():
                raise KeyboardInterrupt

    def _open_pool(self, address: str | None, stop: Callable[[], bool]) -> Pool:
        if self.resolved.job.run.executor == "local":
            pool: Pool = LocalPool(self.spec)
            self.progress.attach_pool(pool)
            return pool
        from engine.executors.ray_pool import RayPool
        from engine.telemetry.ray_metrics import RayMeter

        pool = RayPool(self.spec, self.resolved.job.run, address, stop)
        self.progress.attach_pool(pool, RayMeter())
        return pool
