"""A job in its setting: shards listed and looked at, the choice of samples loaded, digests taken, the output opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.driver.label_run import Labelling
from engine.ledger.commits import put_record
from engine.ledger.fingerprint import NO_DECOYS, method_digests
from engine.ledger.plan import JobPlan
from engine.reading.key_selection import Selection, load_selection, parse_selection, selection_path
from engine.reading.shard_cache import ShardStat, stat_shard
from engine.reading.shard_urls import expand_urls
from engine.redaction import redact
from engine.storage.retry import run_with_retries
from engine.storage.store import Store, open_store
from engine.task import WorkerSpec
from engine.threads import map_parallel
from pipelines.label.decoy_pool import PlannedDecoys, plan_decoys
from pipelines.label.job import JobConfig
from pipelines.label.run_records import JobRecord, PlanRecord
from pipelines.label.teacher_spec import Factories
from schemas.digests import shorten_digest
from schemas.errors import ShardDamagedError
from schemas.ledger import FailedUnit, unit_name
from schemas.progress import ProgressCallback


@dataclass(frozen=True)
class Setting:
    """A job with its files looked at and its digests taken. `job.input.only` is a digest here."""

    job: JobConfig
    store: Store
    spec: WorkerSpec
    plan: JobPlan
    stats: tuple[ShardStat, ...]
    missing: tuple[FailedUnit, ...]
    selection: Selection | None = None
    shards_not_selected: int = 0
    decoys: PlannedDecoys | None = None

    @classmethod
    def of(cls, job: JobConfig, factories: Factories, frozen: PlanRecord | None = None) -> Setting:
        """Look at a job's files. Reads sizes and versions; shards only to draw a pool of decoys that is not frozen yet.

        frozen: take its shards instead of listing them, and raise ConflictError unless it still holds
        """
        listed = frozen.urls() if frozen else expand_urls(job.input.urls, job.input.storage)
        store = open_store(job.output.url, job.output.storage)
        selection = _selection(job, listed, store)
        urls = [url for url in listed if selection is None or selection.may_include(url)]
        if selection is not None:
            chosen = job.input.model_copy(update={"only": selection.digest()})
            job = job.model_copy(update={"input": chosen})
        looks = map_parallel(lambda url: _look(url, job), urls)
        stats = tuple(look for look in looks if isinstance(look, ShardStat))
        finder = factories.of_finder(job)
        decoys = plan_decoys(job, factories, finder, store, stats)
        if decoys is not None and job.decoys.pool is not None:
            given = job.decoys.model_copy(update={"pool": decoys.spec.pool})
            job = job.model_copy(update={"decoys": given})
        spec = WorkerSpec(
            output_url=store.url,
            output_storage=job.output.storage,
            input=job.input,
            evidence=job.evidence,
            labeler=factories.of_labeler(job),
            finder=finder,
            decoys=decoys.spec if decoys else None,
            run=job.run,
        )
        method = method_digests(
            job.input,
            job.evidence,
            spec.labeler.digest,
            spec.finder.digest,
            spec.decoys.chooser.digest if spec.decoys else NO_DECOYS,
        )
        setting = cls(
            job,
            store,
            spec,
            JobPlan(job.digest(), method, job.input.unit_samples, urls, selection),
            stats,
            tuple(look for look in looks if isinstance(look, FailedUnit)),
            selection,
            len(listed) - len(urls),
            decoys,
        )
        if frozen is not None:
            frozen.check_holds(setting.frozen())
        return setting

    def begin(self, progress: ProgressCallback | None = None, limit: int | None = None) -> Labelling:
        """A run over this setting."""
        work = Labelling(self.store, self.plan, self.job.input, progress, limit)
        work.begin(self.stats, self.missing)
        return work

    def asked(self) -> dict[str, Any]:
        """`selection` of docs/interfaces.md; nothing where all samples are asked for."""
        if self.selection is None:
            return {}
        left_out = self.shards_not_selected
        about = {"digest": self.job.input.only, "keys": len(self.selection), "shards_left_out": left_out}
        return {"selection": about}

    def frozen(self) -> PlanRecord:
        """The plan as a record."""
        return PlanRecord(
            job=self.job.digest(),
            teacher=self.spec.labeler.digest,
            phrases=self.spec.finder.digest,
            decoys=self.spec.decoys.chooser.digest if self.spec.decoys else None,
            shards=self.stats,
            missing=self.missing,
        )

    def record(self) -> None:
        """Write the job, the frozen plan and the choice of samples beside the evidence, before work begins."""
        job, frozen = JobRecord.of(self.job, self.spec), self.frozen()
        if self.selection is not None:
            path, data = selection_path(self.selection.digest()), self.selection.to_bytes()
            run_with_retries(lambda: self.store.put_if_absent(path, data))
        if self.decoys is not None:
            self.decoys.record(self.store)
        put_record(self.store, f"jobs/{shorten_digest(job.digest)}.json", job)
        put_record(self.store, f"plans/{shorten_digest(frozen.digest())}.json", frozen)


def _selection(job: JobConfig, shards: list[str], store: Store) -> Selection | None:
    only = job.input.only
    if only is None:
        return None
    if only.startswith("sha256:"):  # as a job that an output keeps names it
        path = selection_path(only)
        return parse_selection(store.read(path), only, f"{store.url}/{path}")
    return load_selection(only, shards, job.input.storage)


def _look(url: str, job: JobConfig) -> ShardStat | FailedUnit:
    try:
        return stat_shard(url, job.input.storage)
    except ShardDamagedError as damage:
        return _missing_shard(url, damage.code, damage.detail)


def _missing_shard(url: str, code: str, detail: str) -> FailedUnit:
    """A shard that could not even be looked at."""
    return FailedUnit(unit=unit_name(url, 0), shard=url, code=code, detail=redact(detail))
