"""Plan: what `label` would do, why, and what it would cost.

Promise: nothing is written but what `--measure` labels into an output that is thrown away.
"""

from __future__ import annotations

from pipelines.label.job import JobConfig
from pipelines.label.plan.measure import assumed, earlier_runs, priced, taste
from pipelines.label.plan.report import PlanReport, plan_report
from pipelines.label.resolved_job import Setting
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
    """Look at sizes, versions and records; no shard is read but for `measure`.

    images_per_s: of one actor, as assumed by the user; else measured, else what this output's runs showed
    measure:      label so many samples, into an output that is thrown away
    """
    setting = Setting.of(job, factories)
    work = setting.begin()
    work.committed_before()
    report = plan_report(work, setting)
    known = earlier_runs(setting.store)
    if measure is not None:
        known = taste(job, measure, factories, address, progress).or_else(known)
    return priced(report, setting, assumed(images_per_s).or_else(known))
