"""Resolve a job: list its shards, load its selection of samples, compute its digests, and open its output."""

from __future__ import annotations

from dataclasses import dataclass

from engine.driver.label_run import LabelRun
from engine.ledger.commits import put_record
from engine.ledger.fingerprint import NO_DECOYS, method_digests
from engine.ledger.plan import JobPlan
from engine.reading.key_selection import Selection, load_selection, parse_selection, selection_path
from engine.reading.shard_cache import ShardStat
from engine.reading.shard_sources import ShardSource, make_source
from engine.redaction import redact
from engine.storage.retry import run_with_retries
from engine.storage.store import Store, open_store
from engine.task import WorkerSpec
from engine.threads import map_parallel
from pipelines.label.decoy_pool import DecoyPlan, plan_decoys
from pipelines.label.job import JobConfig
from pipelines.label.run_records import JobRecord, PlanRecord
from pipelines.label.summary import SelectionTotals
from pipelines.label.teacher_spec import Factories
from schemas.digests import shorten_digest
from schemas.errors import ShardDamagedError
from schemas.ledger import FailedUnit, unit_name
from schemas.progress import ProgressCallback


@dataclass(frozen=True)
class ResolvedJob:
    """A job with the state of its files and its digests. Here `job.input.only` is a digest."""

    job: JobConfig
    store: Store
    spec: WorkerSpec
    plan: JobPlan
    stats: tuple[ShardStat, ...]
    missing: tuple[FailedUnit, ...]
    selection: Selection | None = None
    shards_not_selected: int = 0
    decoys: DecoyPlan | None = None

    @classmethod
    def resolve(cls, job: JobConfig, factories: Factories, frozen: PlanRecord | None = None) -> ResolvedJob:
        """Read the sizes and versions of a job's files. Reads shards only to draw a pool of decoys.

        frozen: use its shards instead of listing them, and raise ConflictError if anything has changed since
        """
        job = job.model_copy(update={"input": job.input_settings()})
        source = make_source(job.input)
        listed = frozen.urls() if frozen else source.list_urls()
        store = open_store(job.output.url, job.output.storage)
        selection = _load_selection(job, listed, store)
        urls = [url for url in listed if selection is None or selection.may_include(url)]
        if selection is not None:
            chosen = job.input.model_copy(update={"only": selection.digest()})
            job = job.model_copy(update={"input": chosen})
        states = map_parallel(lambda url: _stat(url, source), urls)
        stats = tuple(state for state in states if isinstance(state, ShardStat))
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
        resolved = cls(
            job,
            store,
            spec,
            JobPlan(job.digest(), method, job.input.unit_samples, urls, selection),
            stats,
            tuple(state for state in states if isinstance(state, FailedUnit)),
            selection,
            len(listed) - len(urls),
            decoys,
        )
        if frozen is not None:
            frozen.check_unchanged(resolved.plan_record())
        return resolved

    def begin(self, progress: ProgressCallback | None = None, limit: int | None = None) -> LabelRun:
        """Begin a run of this job. limit: label only this many samples."""
        work = LabelRun(self.store, self.plan, self.job.input, progress, limit)
        work.begin(self.stats, self.missing)
        return work

    def selection_totals(self) -> SelectionTotals | None:
        """Return `selection` of docs/interfaces.md; None if all samples are selected."""
        if self.selection is None:
            return None
        return {
            "digest": self.job.input.only,
            "keys": len(self.selection),
            "shards_left_out": self.shards_not_selected,
        }

    def plan_record(self) -> PlanRecord:
        """Return the plan as a record."""
        return PlanRecord(
            job=self.job.digest(),
            teacher=self.spec.labeler.digest,
            phrases=self.spec.finder.digest,
            decoys=self.spec.decoys.chooser.digest if self.spec.decoys else None,
            shards=self.stats,
            missing=self.missing,
        )

    def write_records(self) -> None:
        """Write the job, the frozen plan and the selection of samples to the output, before work begins."""
        job, frozen = JobRecord.create(self.job, self.spec), self.plan_record()
        if self.selection is not None:
            path, data = selection_path(self.selection.digest()), self.selection.to_bytes()
            run_with_retries(lambda: self.store.put_if_absent(path, data))
        if self.decoys is not None:
            self.decoys.freeze(self.store)
        put_record(self.store, f"jobs/{shorten_digest(job.digest)}.json", job)
        put_record(self.store, f"plans/{shorten_digest(frozen.digest())}.json", frozen)


def _load_selection(job: JobConfig, shards: list[str], store: Store) -> Selection | None:
    only = job.input.only
    if only is None:
        return None
    if only.startswith("sha256:"):  # a recorded job names its selection so
        path = selection_path(only)
        return parse_selection(store.read(path), only, f"{store.url}/{path}")
    return load_selection(only, shards, job.input.storage)


def _stat(url: str, source: ShardSource) -> ShardStat | FailedUnit:
    try:
        return source.stat(url)
    except ShardDamagedError as damage:
        return _missing_shard(url, damage.code, damage.detail)


def _missing_shard(url: str, code: str, detail: str) -> FailedUnit:
    """Return the failure of a shard whose size and version could not be read."""
    return FailedUnit(unit=unit_name(url, 0), shard=url, code=code, detail=redact(detail))
