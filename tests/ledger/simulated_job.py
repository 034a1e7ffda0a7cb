"""The small job that simulated processes work on: two shards, three units, one unit with a rejected sample.

The rows of a unit come in variants that differ in a score, as a GPU's do; variant 0 is what an undisturbed run gives.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from engine.ledger.fingerprint import Method
from engine.ledger.plan import JobPlan
from engine.ledger.unit_result import UnitResult
from engine.reading.spool import ShardStat
from engine.settings import InputSettings
from schemas.ledger import ShardFacts, Unit

SHARDS = ("s3://in/a.tar", "s3://in/b.tar")
SAMPLES = {SHARDS[0]: 3, SHARDS[1]: 2}
UNIT_SAMPLES = 2
SETTINGS = InputSettings(urls=SHARDS, unit_samples=UNIT_SAMPLES)
STATS = tuple(ShardStat(url, 1024, "etag=1") for url in SHARDS)
METHOD = Method(reading="sha256:r", teacher="sha256:t", phrases="sha256:p", evidence="sha256:e")
JOB = "sha256:job"
PROVENANCE = {"groundswell.teacher": "sha256:t"}
UNITS = 3
SAMPLES_IN = sum(SAMPLES.values())


def new_plan() -> JobPlan:
    """The job as a driver that just started sees it."""
    return JobPlan(JOB, METHOD, UNIT_SAMPLES, SHARDS)


@cache
def facts_of(url: str) -> ShardFacts:
    """What reading a shard to its end tells."""
    return ShardFacts(url=url, size_bytes=1024, version="etag=1", sha256="ab" * 32, samples=SAMPLES[url])


@cache
def result_of(unit: str, shard: str, first: int, count: int, variant: int) -> UnitResult:
    """What the teacher makes of a unit; the last sample of the first shard is rejected."""
    indices = range(first, first + count)
    bad = {index for index in indices if shard == SHARDS[0] and index == SAMPLES[shard] - 1}
    rows = [_row(unit, shard, index, variant) for index in indices if index not in bad]
    refused = [
        {"unit": unit, "index": index, "key": f"k{index}", "code": "IMG_EMPTY", "detail": "0 bytes"}
        for index in sorted(bad)
    ]
    return UnitResult(rows, refused)


def label(unit: Unit, variant: int = 0) -> UnitResult:
    """The result of a unit."""
    return result_of(unit.name, unit.shard, unit.first, unit.count, variant)


def _row(unit: str, shard: str, index: int, variant: int) -> dict[str, Any]:
    score = 0.5 + variant / 64
    region = {"phrase": 0, "x0": 0.0, "y0": 0.0, "x1": 4.0, "y1": 4.0, "score": score, "pass_index": 0}
    phrase = {"begin": 0, "end": 5, "text": "a cat", "root": "cat", "kind": "chunk", "groundable": True}
    return {
        "unit": unit,
        "shard": shard,
        "index": index,
        "key": f"k{index}",
        "pixels": {"url": shard, "offset": 512, "length": 9},
        "image_sha256": "0" * 64,
        "caption": "a cat",
        "meta": "{}",
        "width": 8,
        "height": 8,
        "exif_orientation": 1,
        "phrases": [phrase],
        "dropped_phrases": [],
        "regions": [region] if index % 2 == 0 else [],
    }
