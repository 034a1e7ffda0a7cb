"""The engine's own contestant: the real plan, ledger, dispatch and Ray pool on the benchmark's shards."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.engine.teacher import FACTORIES
from engine.driver.dispatch import run_tasks
from engine.driver.label_run import LabelRun
from engine.executors.ray_pool import RayPool
from engine.ledger.fingerprint import method_digests
from engine.ledger.plan import JobPlan
from engine.reading.shard_cache import stat_shard
from engine.storage.store import open_store
from engine.task import WorkerSpec
from pipelines.label.job import JobConfig


def job(
    shards: list[Path], out: Path, actors: int, megabytes: int, batch_size: int, unit_samples: int
) -> JobConfig:
    """Return the labeling job that a user would write for these shards."""
    return JobConfig.model_validate(
        {
            "input": {"urls": [str(path) for path in shards], "unit_samples": unit_samples},
            "teacher": {"kind": "detector", "model": str(megabytes)},
            "output": {"url": str(out)},
            "run": {"actors": {"min": actors, "max": actors}, "batch_size": batch_size},
        }
    )


def seconds(config: JobConfig) -> tuple[float, float]:
    """Wall-clock seconds from placed actors to the published snapshot, and with the start of the actors."""
    store = open_store(config.output.url)
    spec = WorkerSpec(
        output_url=store.url,
        input=config.input,
        evidence=config.evidence,
        labeler=FACTORIES.of_labeler(config),
        finder=FACTORIES.of_finder(config),
    )
    method = method_digests(config.input, config.evidence, spec.labeler.digest, spec.finder.digest)
    plan = JobPlan(config.digest(), method, config.input.unit_samples, config.input.urls)
    work = LabelRun(store, plan, config.input)
    begun = time.perf_counter()
    pool = RayPool(spec, config.run)
    placed = time.perf_counter()
    try:
        work.begin([stat_shard(url) for url in config.input.urls], [])
        work.find_committed()
        work.publish()
        run_tasks(pool, work)
        snapshot = work.publish()
        ended = time.perf_counter()
    finally:
        pool.close()
    if snapshot.totals.units != snapshot.planned:
        raise RuntimeError(f"{snapshot.totals.units} of {snapshot.planned} units were committed")
    return ended - placed, ended - begun
