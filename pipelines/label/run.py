"""Plan and label: the driver from a job to a published snapshot.

Promise: the same command again continues where the last one ended, however it ended, and comes to the same rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from engine.filesystems import absolute_url
from engine.ledger.commits import put_record
from engine.ledger.fingerprint import method_of
from engine.ledger.plan import JobPlan
from engine.ledger.status import status
from engine.ledger.summary import summarise
from engine.ledger.verify import verify
from engine.reading.spool import ShardStat, stat_shard
from engine.reading.urls import expand_urls
from engine.settings import OutputSettings
from engine.storage import Store, open_store
from engine.store_check import check_store
from engine.work.dispatch import drive
from engine.work.labelling import Labelling, Progress, in_parallel, missing_shard
from engine.work.local_pool import LocalPool
from engine.work.tasks import Pool, WorkerSpec
from pipelines.label.factories import TEACHER, Factories
from pipelines.label.interrupt import stop_on_sigint
from pipelines.label.job import JobConfig
from pipelines.label.records import JobRecord, PlanRecord
from pipelines.label.report import PlanReport, plan_report
from schemas.digests import short
from schemas.errors import ConfigError, ShardDamaged
from schemas.ledger import FailedUnit

__all__ = ["label", "plan", "status", "verify"]


def plan(job: JobConfig, factories: Factories = TEACHER) -> PlanReport:
    """What `label` would do. Looks at sizes, versions and records; reads no shard, writes nothing."""
    setting = _Setting.of(job, factories)
    work = setting.begin()
    work.committed_before()
    return plan_report(work, {stat.url: stat.size_bytes for stat in setting.stats}, setting.spec)


def label(
    job: JobConfig,
    limit: int | None = None,
    keep: str | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    factories: Factories = TEACHER,
) -> dict[str, Any]:
    """Run or resume a job; the summary of docs/interfaces.md.

    limit:   label only the first so many samples, into an output of its own that is deleted at the end
    keep:    with a limit, the folder that this output goes to instead, to be looked at
    address: a running Ray cluster; else `run.address`, then RAY_ADDRESS, then one of this machine (executor: ray)
    raises:  KeyboardInterrupt after Ctrl-C, when the running units are finished and published;
             errors of `schemas.errors`. Failed units do not raise: they are counted and listed in the summary
    """
    address = address or job.run.address
    if limit is None:
        if keep is not None:
            raise ConfigError(
                "--keep is for the output of --limit N; without it, output.url of the job is written"
            )
        return _label(job, None, address, progress, factories)
    with _throw_away(keep) as url:
        if absolute_url(url) == absolute_url(job.output.url):
            raise ConfigError(f"--keep {url} is the job's own output; name another folder")
        output = OutputSettings(url=url)
        summary = _label(job.model_copy(update={"output": output}), limit, address, progress, factories)
    return summary | {"output": summary["output"] if keep else None}


@contextmanager
def _throw_away(keep: str | None) -> Iterator[str]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="groundswell-limit-") as folder:
        yield folder


def _label(
    job: JobConfig, limit: int | None, address: str | None, progress: Progress | None, factories: Factories
) -> dict[str, Any]:
    setting = _Setting.of(job, factories)
    if not setting.store.is_local:  # a disk either links or says that it cannot
        check_store(setting.store, job.run.single_writer)
    work = setting.begin(progress, limit)
    work.committed_before()
    setting.record()
    work.publish()
    if work.next_is_due():
        _run(setting, work, address)
    if limit is not None:
        work.leave_out_unread()
    return {**summarise(work.publish()), "output": setting.store.url}


def _run(setting: _Setting, work: Labelling, address: str | None) -> None:
    spec = setting.spec.model_copy(update={"epoch": work.claim_epoch()})
    with stop_on_sigint() as stopping:
        pool = _pool(replace(setting, spec=spec), address)
        try:
            drive(pool, work, stopping)
        finally:
            pool.close()
            work.publish()
        if stopping():
            raise KeyboardInterrupt


def _pool(setting: _Setting, address: str | None) -> Pool:
    if setting.job.run.executor == "local":
        return LocalPool(setting.spec)
    from engine.ray_pool import RayPool

    return RayPool(setting.spec, setting.job.run, address)


@dataclass(frozen=True)
class _Setting:
    """A job with its files looked at and its digests taken."""

    job: JobConfig
    store: Store
    spec: WorkerSpec
    plan: JobPlan
    stats: tuple[ShardStat, ...]
    missing: tuple[FailedUnit, ...]

    @classmethod
    def of(cls, job: JobConfig, factories: Factories) -> _Setting:
        urls = expand_urls(job.input.urls, job.input.storage)
        looks = in_parallel(lambda url: _look(url, job), urls)
        store = open_store(job.output.url, job.output.storage)
        spec = WorkerSpec(
            output_url=store.url,
            output_storage=job.output.storage,
            input=job.input,
            evidence=job.evidence,
            labeler=factories.of_labeler(job),
            finder=factories.of_finder(job),
        )
        method = method_of(job.input, job.evidence, spec.labeler.digest, spec.finder.digest)
        return cls(
            job,
            store,
            spec,
            JobPlan(job.digest(), method, job.input.unit_samples, urls),
            tuple(look for look in looks if isinstance(look, ShardStat)),
            tuple(look for look in looks if isinstance(look, FailedUnit)),
        )

    def begin(self, progress: Progress | None = None, limit: int | None = None) -> Labelling:
        """A run over this setting."""
        work = Labelling(self.store, self.plan, self.job.input, progress, limit)
        work.begin(self.stats, self.missing)
        return work

    def record(self) -> None:
        """Write the job and the frozen plan beside the evidence, before work begins."""
        job = JobRecord.of(self.job, self.spec)
        put_record(self.store, f"jobs/{short(job.digest)}.json", job)
        frozen = PlanRecord(job=job.digest, shards=self.stats, missing=self.missing)
        put_record(self.store, f"plans/{short(frozen.digest())}.json", frozen)


def _look(url: str, job: JobConfig) -> ShardStat | FailedUnit:
    try:
        return stat_shard(url, job.input.storage)
    except ShardDamaged as damage:
        return missing_shard(url, damage.code, damage.detail)
