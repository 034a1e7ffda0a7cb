"""Measure what labeling takes: by a trial run into a temporary output, or from earlier runs of the same output.

Every figure names its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.settings import OutputSettings
from engine.storage.store import Store, open_store
from pipelines.label.job import JobConfig
from pipelines.label.plan.estimate import ASSUMED_BYTES_PER_SAMPLE, Figure, Workload, estimate
from pipelines.label.plan.report import PlanReport
from pipelines.label.progress.record import ProgressRecord, load_latest_progress
from pipelines.label.progress.reporter import RunProgress
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.run import run_job, temporary_output
from pipelines.label.teacher_spec import Factories
from schemas.errors import NotFoundError
from schemas.ledger import ShardFacts
from schemas.progress import ProgressCallback

MAX_UNITS = 1000  # committed units from which the bytes per sample are computed


@dataclass(frozen=True)
class Measurements:
    """What labeling takes. None: not measured."""

    rate: Figure | None = None
    """Images per second of work of one actor: reading, preparing and labeling, without the time to load its model.

    In a run the next unit is prepared while one is labeled, so a run is usually faster.
    """
    bytes_per_sample: Figure | None = None
    samples_per_byte: float | None = None

    def or_else(self, other: Measurements) -> Measurements:
        """Return these measurements, with the other's figures where these are None."""
        return Measurements(
            self.rate or other.rate,
            self.bytes_per_sample or other.bytes_per_sample,
            self.samples_per_byte or other.samples_per_byte,
        )


def assume_rate(images_per_s: float | None) -> Measurements:
    """Return measurements with the rate that the user gives."""
    return Measurements(rate=Figure(images_per_s, "assumed") if images_per_s else None)


def measure_trial(
    job: JobConfig, samples: int, factories: Factories, address: str | None, progress: ProgressCallback | None
) -> Measurements:
    """Label some samples of the job into a temporary output, and measure what that takes."""
    progresses: list[RunProgress] = []
    with temporary_output() as url:
        trial = job.model_copy(update={"output": OutputSettings(url=url)})
        run_job(trial, factories, address, progress, samples, watch=progresses.append)
        store = open_store(url)
        facts = [ShardFacts.model_validate_json(store.read(path)) for path in store.list("shards")]
        record = progresses[0].record("finished") if progresses else None
        measured = Measurements(
            _compute_rate(record, f"measured on {samples} samples"), _measure_sample_size(store, "measured")
        )
    size = sum(fact.size_bytes for fact in facts)
    density = sum(fact.samples for fact in facts) / size if size else None
    return measured.or_else(Measurements(samples_per_byte=density))


def measure_earlier_runs(store: Store) -> Measurements:
    """Return what the earlier runs of an output took."""
    record = load_latest_progress(store)
    source = f"run {record.run} of this output" if record else ""
    return Measurements(_compute_rate(record, source), _measure_sample_size(store, "this output"))


def add_estimate(report: PlanReport, resolved: ResolvedJob, measured: Measurements) -> PlanReport:
    """Return the report with an estimate. The samples of unread shards are guessed from the sizes of the others."""
    density = report.samples_per_byte() or measured.samples_per_byte
    unread = report.bytes_unread()
    guessed = 0 if unread == 0 else None if density is None else round(unread * density)
    samples = None if guessed is None else report.totals()["samples_to_do"] + guessed
    if samples is not None and resolved.selection is not None:
        samples = min(samples, len(resolved.selection))
    size = measured.bytes_per_sample or Figure(ASSUMED_BYTES_PER_SAMPLE, "assumed")
    load = Workload(samples, report.bytes_to_read(), measured.rate, size)
    found = estimate(load, resolved.job.run, resolved.job.price)
    found["samples_guessed_from_sizes"] = guessed or 0
    return report.model_copy(update={"estimate": found})


def _compute_rate(record: ProgressRecord | None, source: str) -> Figure | None:
    if record is None or record.busy_s <= 0 or record.samples_here == 0:
        return None
    return Figure(record.samples_here / record.busy_s, f"{source}, {record.busy_s:.1f} s of work")


def _measure_sample_size(store: Store, source: str) -> Figure | None:
    try:
        entries = list(islice(snapshot_entries(store, latest_snapshot(store)), MAX_UNITS))
    except NotFoundError:
        return None
    files = [file for entry in entries for file in (entry.evidence, entry.rejections) if file is not None]
    samples = sum(entry.counts.samples_in for entry in entries)
    return (
        Figure(sum(file.size_bytes for file in files) / samples, f"{source}, {samples} samples")
        if samples
        else None
    )
