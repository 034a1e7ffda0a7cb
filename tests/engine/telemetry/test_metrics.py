"""Counters and times: the numbers of the engine, and that Ray's metrics port shows them."""

from __future__ import annotations

import re
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from engine.telemetry.metrics import COUNTERS, TIMES, TimedLabeler
from engine.worker.worker import Worker
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.run import label
from schemas.codes import SAMPLE_CODES
from tests.engine.small_teacher import FACTORIES, SmallLabeler
from tests.engine.worlds import job_of, plain_captions, write_shard


class Tally:
    """A meter that records all numbers."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.times: list[str] = []

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        assert set(labels) == set(COUNTERS[name][1]), name
        self.counts[name, ",".join(labels.values())] += number

    def observe(self, name: str, seconds: float) -> None:
        assert name in TIMES and seconds >= 0
        self.times.append(name)


def captions() -> list[str]:
    plain = plain_captions(6)
    return [plain[0], "no phrase here", *plain[1:], f"{plain[0]} explode", "..."]


def test_a_unit_is_counted_by_fate_and_code_once(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", captions())
    job = job_of(tmp_path, [shard], input={"unit_samples": 20})
    resolved, tally = ResolvedJob.resolve(job, FACTORIES), Tally()
    worker = Worker(resolved.spec, meter=tally)
    work = resolved.begin()
    work.settle(worker.run(work.next_task()))
    task = work.next_task()

    worker.run(task)
    worker.run(task)  # committed already: not counted again

    assert {name: number for name, number in tally.counts.items() if number} == {
        ("groundswell_samples_total", "labelled"): 6,
        ("groundswell_samples_total", "empty"): 1,
        ("groundswell_samples_total", "rejected"): 2,
        ("groundswell_rejected_total", "TEACHER_ERROR"): 1,
        ("groundswell_rejected_total", "CAP_EMPTY"): 1,
        ("groundswell_regions_total", ""): tally.counts["groundswell_regions_total", ""],
        ("groundswell_units_total", "committed"): 1,
    }
    assert tally.counts["groundswell_regions_total", ""] > 0
    assert Counter(tally.times)["groundswell_unit_seconds"] == 1
    assert Counter(tally.times)["groundswell_batch_seconds"] >= 2


def test_labels_come_from_fixed_lists() -> None:
    assert {labels for _, labels in COUNTERS.values()} == {(), ("fate",), ("code",)}
    assert len(SAMPLE_CODES) < 100  # the largest label: a time series each


def test_a_timed_labeler_is_the_labeler() -> None:
    plain = SmallLabeler({}, "sha256:d", 4, 0.0)
    tally = Tally()
    timed = TimedLabeler(plain, tally)

    timed.batch_size //= 2

    assert plain.batch_size == timed.batch_size == 2
    assert (timed.digest, timed.score_kind) == (plain.digest, plain.score_kind)
    with pytest.raises(AssertionError):
        timed.label([None])  # its errors are the labeler's
    assert tally.times == ["groundswell_batch_seconds"]


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.ray
@pytest.mark.slow
def test_rays_metrics_port_shows_what_actors_and_driver_counted(tmp_path: Path, ray_cluster: None) -> None:
    import ray

    shard = write_shard(tmp_path / "a.tar", captions())
    on_ray = {"executor": "ray", "cpus_per_actor": 0.5}
    port = ray.nodes()[0]["MetricsExportPort"]
    line = re.compile(r'^(ray_groundswell_samples_total\{.*fate="labelled".*\}) (\S+)$', re.M)
    time.sleep(12)  # Ray tells every ten seconds or so
    before = dict(line.findall(scraped(port)))  # of earlier jobs on this cluster, one number for each process

    def count_labeled() -> float:
        now = line.findall(scraped(port))
        return sum(float(value) - float(before.get(labels, 0)) for labels, value in now)

    label(job_of(tmp_path, [shard], run=on_ray), factories=FACTORIES)
    deadline = time.monotonic() + 60
    while count_labeled() < 6 and time.monotonic() < deadline:
        time.sleep(0.5)

    assert count_labeled() == 6
    assert "ray_groundswell_batch_seconds_bucket" in scraped(port)
