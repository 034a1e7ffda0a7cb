"""What labelling will take, from labelling: a taste into a throw-away output, or earlier runs of the same output.

Promise: every figure says where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.settings import OutputSettings
from engine.storage.store import Store, open_store
from pipelines.label.job import JobConfig
from pipelines.label.plan.prices import ASSUMED_BYTES_PER_SAMPLE, Figure, Workload, estimate
from pipelines.label.plan.report import PlanReport
from pipelines.label.progress.record import ProgressRecord, newest_progress
from pipelines.label.progress.reporter import RunProgress
from pipelines.label.resolved_job import Setting
from pipelines.label.run import start, throw_away
from pipelines.label.teacher_spec import Factories
from schemas.errors import NotFoundError
from schemas.ledger import ShardFacts
from schemas.progress import ProgressCallback

UNITS_WEIGHED = 1000  # committed units that say how many bytes a sample takes


@dataclass(frozen=True)
class Measured:
    """What labelling showed. None: it did not show that."""

    rate: Figure | None = None
    """images per second of one actor, loading its model left out"""
    bytes_per_sample: Figure | None = None
    samples_per_byte: float | None = None

    def or_else(self, other: Measured) -> Measured:
        """This, and the other's figures where this has none."""
        return Measured(
            self.rate or other.rate,
            self.bytes_per_sample or other.bytes_per_sample,
            self.samples_per_byte or other.samples_per_byte,
        )


def assumed(images_per_s: float | None) -> Measured:
    """A rate that the user states."""
    return Measured(rate=Figure(images_per_s, "assumed") if images_per_s else None)


def taste(
    job: JobConfig, samples: int, factories: Factories, address: str | None, progress: ProgressCallback | None
) -> Measured:
    """Label some samples of the job into an output that is thrown away, and say what that took."""
    watched: list[RunProgress] = []
    with throw_away() as url:
        elsewhere = job.model_copy(update={"output": OutputSettings(url=url)})
        start(elsewhere, factories, address, progress, samples, watched=watched.append)
        store = open_store(url)
        facts = [ShardFacts.model_validate_json(store.read(path)) for path in store.list("shards")]
        told = watched[0].record("finished") if watched else None
        measured = Measured(
            _rate(told, f"measured on {samples} samples"), _bytes_per_sample(store, "measured")
        )
    size = sum(fact.size_bytes for fact in facts)
    density = sum(fact.samples for fact in facts) / size if size else None
    return measured.or_else(Measured(samples_per_byte=density))


def earlier_runs(store: Store) -> Measured:
    """What an output's own runs showed."""
    told = newest_progress(store)
    where = f"run {told.run} of this output" if told else ""
    return Measured(_rate(told, where), _bytes_per_sample(store, "this output"))


def priced(report: PlanReport, setting: Setting, measured: Measured) -> PlanReport:
    """The report with its estimate. Samples of shards that were not read are guessed from the sizes of others."""
    density = report.samples_per_byte() or measured.samples_per_byte
    unread = report.bytes_unread()
    guessed = 0 if unread == 0 else None if density is None else round(unread * density)
    samples = None if guessed is None else report.totals()["samples_to_do"] + guessed
    if samples is not None and setting.selection is not None:
        samples = min(samples, len(setting.selection))
    size = measured.bytes_per_sample or Figure(ASSUMED_BYTES_PER_SAMPLE, "assumed")
    load = Workload(samples, report.bytes_to_read(), measured.rate, size)
    found = estimate(load, setting.job.run, setting.job.price)
    return report.model_copy(update={"estimate": found | {"samples_guessed_from_sizes": guessed or 0}})


def _rate(told: ProgressRecord | None, source: str) -> Figure | None:
    if told is None or told.busy_s <= 0 or told.samples_here == 0:
        return None
    return Figure(told.samples_here / told.busy_s, f"{source}, {told.busy_s:.1f} s of work")


def _bytes_per_sample(store: Store, source: str) -> Figure | None:
    try:
        entries = list(islice(snapshot_entries(store, latest_snapshot(store)), UNITS_WEIGHED))
    except NotFoundError:
        return None
    files = [file for entry in entries for file in (entry.evidence, entry.rejections) if file is not None]
    samples = sum(entry.counts.samples_in for entry in entries)
    return (
        Figure(sum(file.size_bytes for file in files) / samples, f"{source}, {samples} samples")
        if samples
        else None
    )
