"""Plan a job: what `label` would do, why, and what it would cost.

Nothing is written to the output. Only `measure` labels samples, into a temporary output.
"""

from __future__ import annotations

from pipelines.label.job import JobConfig
from pipelines.label.plan.measure import add_estimate, assume_rate, measure_earlier_runs, measure_trial
from pipelines.label.plan.report import PlanReport, build_report
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.teacher_spec import TEACHER, Factories
from schemas.progress import ProgressCallback


def plan(
    job: JobConfig,
    factories: Factories = TEACHER,
    images_per_s: float | None = None,
    measure: int | None = None,
    address: str | None = None,
    progress: ProgressCallback | None = None,
) -> PlanReport:
    """Compare the job with its output, by sizes, versions and records. Only `measure` reads a shard.

    images_per_s: of one actor, as the user assumes; default: measured, else that of earlier runs of this output
    measure:      label this many samples into a temporary output to measure the rate
    """
    resolved = ResolvedJob.resolve(job, factories)
    work = resolved.begin()
    work.find_committed()
    report = build_report(work, resolved)
    known = measure_earlier_runs(resolved.store)
    if measure is not None:
        known = measure_trial(job, measure, factories, address, progress).or_else(known)
    return add_estimate(report, resolved, assume_rate(images_per_s).or_else(known))
