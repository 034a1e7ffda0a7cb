"""Label: the driver from a job to a published snapshot.

Promise: the same command again continues where the last one ended, however it ended, and comes to the same rows.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.driver.dispatch import drive
from engine.driver.label_run import Labelling
from engine.executors.local import LocalPool
from engine.ledger.snapshots.file_check import check_files
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.ledger.snapshots.status import status
from engine.ledger.snapshots.summary import summarize
from engine.ledger.verify import verify
from engine.settings import OutputSettings
from engine.storage.conditional_put_check import check_store
from engine.storage.filesystems import absolute_url
from engine.task import Pool, WorkerSpec
from engine.telemetry import logs
from pipelines.label.interrupt import stop_when_asked
from pipelines.label.job import JobConfig
from pipelines.label.progress.record import run_name
from pipelines.label.progress.reporter import RunProgress, told
from pipelines.label.rejection_limit import judge, record_limit
from pipelines.label.resolved_job import Setting
from pipelines.label.run_records import PlanRecord
from pipelines.label.teacher_spec import TEACHER, Factories
from pipelines.label.train_overlap import seen_in_training
from schemas.digests import shorten_digest
from schemas.errors import ConfigError, ConflictError, NotFoundError
from schemas.progress import ProgressCallback

log = logging.getLogger(__name__)
__all__ = ["label", "start", "status", "throw_away", "verify"]


def label(
    job: JobConfig,
    limit: int | None = None,
    keep: str | None = None,
    address: str | None = None,
    progress: ProgressCallback | None = None,
    factories: Factories = TEACHER,
    frozen: PlanRecord | None = None,
) -> dict[str, Any]:
    """Run or resume a job; the summary of docs/interfaces.md.

    limit:   label only the first so many samples, into an output of its own that is deleted at the end
    keep:    with a limit, the folder that this output goes to instead, to be looked at
    address: a running Ray cluster; else `run.address`, then RAY_ADDRESS, then one of this machine (executor: ray)
    frozen:  a plan made before; ConflictError when a shard, the job, the teacher or the phrases are others by now
    raises:  KeyboardInterrupt after Ctrl-C, when the running units are finished and published;
             errors of `schemas.errors`. Failed units do not raise: they are counted and listed in the summary;
             nor do rejected samples: `judged` says whether they are more than `run.max_rejected` allows
    """
    if limit is None:
        if keep is not None:
            raise ConfigError(
                "--keep is for the output of --limit N; without it, output.url of the job is written"
            )
        return start(job, factories, address, progress, frozen=frozen)
    with throw_away(keep) as url:
        if absolute_url(url) == absolute_url(job.output.url):
            raise ConfigError(f"--keep {url} is the job's own output; name another folder")
        job = job.model_copy(update={"output": OutputSettings(url=url)})
        summary = start(job, factories, address, progress, limit, frozen)
    return summary | {"output": summary["output"] if keep else None}


def start(
    job: JobConfig,
    factories: Factories,
    address: str | None = None,
    progress: ProgressCallback | None = None,
    limit: int | None = None,
    frozen: PlanRecord | None = None,
    narrowed: Callable[[Labelling], None] = lambda work: None,
    watched: Callable[[RunProgress], None] = lambda watch: None,
) -> dict[str, Any]:
    """Run a job into its own output. narrowed: may take units out of the work; watched: is given the run's progress."""
    setting = Setting.of(job, factories, frozen)
    if limit is not None:
        _refuse_other_job(setting)
    if not setting.store.is_local:  # a disk either links or says that it cannot
        check_store(setting.store, job.run.single_writer)
    work = setting.begin(progress, limit)
    work.committed_before()
    _look_for_files(work)
    narrowed(work)
    setting.record()
    work.record_facts()
    work.publish()
    if work.next_is_due():
        run = _Run.of(setting, work)
        watched(run.progress)
        run.drive(address or job.run.address)
    else:
        record_limit(setting.store, job.run.max_rejected)
    if limit is not None:
        work.leave_out_unread()
    summary = {**summarize(work.publish()), "output": setting.store.url, **setting.asked()}
    summary["judged"] = judge(summary, job.run.max_rejected).data()
    return summary | seen_in_training(setting.store, job.teacher)


def _refuse_other_job(setting: Setting) -> None:
    """Raise ConflictError where a sample limit would publish less over the evidence of another job."""
    try:
        newest = latest_snapshot(setting.store)
    except NotFoundError:
        return
    if newest.job_digest != setting.job.digest():
        raise ConflictError(
            f"--keep {setting.store.url} holds the evidence of another job, "
            f"{shorten_digest(newest.job_digest)}; expected a "
            "new or empty folder, or an earlier output of the same job; name another folder"
        )


def _look_for_files(work: Labelling) -> None:
    """Of what counts as done, before it is called done. Raises ConflictError when a file is gone."""
    newest = work.newest
    if newest is not None and not check_files(work.store, newest, work.plan.admits):
        log.warning(
            "%d units are committed; whether their files are still there was not looked at: `groundswell verify %s`",
            newest.totals.units,
            work.store.url,
        )


@contextmanager
def throw_away(keep: str | None = None) -> Iterator[str]:
    """A folder for an output: the one to keep, or one that is deleted."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="groundswell-limit-") as folder:
        yield folder


@contextmanager
def always_then(*steps: Callable[[], object]) -> Iterator[None]:
    """After the block, however it ends, every step in turn. The first error is raised, later ones are its notes."""
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

    setting: Setting
    work: Labelling
    spec: WorkerSpec
    progress: RunProgress

    @classmethod
    def of(cls, setting: Setting, work: Labelling) -> _Run:
        job, name = setting.job, run_name()
        progress = RunProgress(
            name, job.digest(), setting.frozen().digest(), job.run, job.input.unit_samples, job.price
        )
        progress.begin(work.planned(), work.done(), work.unread())
        spec = setting.spec.model_copy(
            update={"run_name": name, "log": logs.current_settings(), "epoch": work.claim_epoch()}
        )
        return cls(setting, work, spec, progress)

    def drive(self, address: str | None) -> None:
        """Work until nothing is due. Raises KeyboardInterrupt when Ctrl-C ended it early."""
        store, name, grace_s = self.setting.store, self.progress.run, self.setting.job.run.grace_s
        with (
            logs.log_context(run=name),
            stop_when_asked(grace_s) as stopping,
            told(self.progress, store, stopping) as stopping.last_words,
        ):
            pool = self._pool(address, stopping)
            with always_then(
                self.work.publish, pool.close
            ):  # closing takes seconds, which a signal may not leave
                drive(pool, self.work, stopping, self.progress)
            if stopping():
                raise KeyboardInterrupt

    def _pool(self, address: str | None, stopping: Callable[[], bool]) -> Pool:
        if self.setting.job.run.executor == "local":
            pool: Pool = LocalPool(self.spec)
            self.progress.working(pool)
            return pool
        from engine.executors.ray_pool import RayPool
        from engine.telemetry.ray_metrics import RayMeter

        pool = RayPool(self.spec, self.setting.job.run, address, stopping)
        self.progress.working(pool, RayMeter())
        return pool
