"""Small jobs whose units are labeled without a teacher, for simulated and for real processes that die.

The rows of a unit have variants that differ in a score, as on a GPU; variant 0 is that of an undisturbed run. The last
sample of a shard with an odd number of samples is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from engine.ledger.fingerprint import MethodDigests
from engine.ledger.plan import JobPlan
from engine.ledger.unit_result import UnitResult
from engine.reading.shard_cache import ShardStat
from engine.settings import InputSettings
from schemas.ledger import ShardFacts, Unit
from tests.engine.worlds import list_units

UNIT_SAMPLES = 2
PROVENANCE = {"groundswell.teacher": "sha256:t"}


@dataclass(frozen=True)
class TinyJob:
    """A job whose shards have given numbers of samples."""

    samples: tuple[int, ...]
    teacher: str = "sha256:t"

    @property
    def digest(self) -> str:
        """The job's digest; another teacher is another job."""
        return f"sha256:job of {self.teacher}"

    @cached_property
    def shards(self) -> tuple[str, ...]:
        """The names of shards that nobody reads."""
        return tuple(f"s3://in/{number}.tar" for number in range(len(self.samples)))

    @cached_property
    def settings(self) -> InputSettings:
        """The job's input section."""
        return InputSettings(urls=self.shards, unit_samples=UNIT_SAMPLES)

    @cached_property
    def stats(self) -> tuple[ShardStat, ...]:
        """The sizes and versions of the shards."""
        return tuple(ShardStat(url, 1024, "etag=1") for url in self.shards)

    @property
    def units(self) -> int:
        """The number of units that the shards are split into."""
        return sum(-(-count // UNIT_SAMPLES) for count in self.samples)

    def new_plan(self) -> JobPlan:
        """Return the plan of a driver that just started."""
        method = MethodDigests(
            reading="sha256:r", teacher=self.teacher, phrases="sha256:p", evidence="sha256:e"
        )
        return JobPlan(self.digest, method, UNIT_SAMPLES, self.shards)

    @cached_property
    def fingerprints(self) -> frozenset[str]:
        """Return the fingerprints of all units."""
        plan = self.new_plan()
        for url in self.shards:
            plan.split_shard(self.facts_of(url))
        return frozenset(plan.fingerprint(unit) for unit in list_units(plan))

    def facts_of(self, url: str) -> ShardFacts:
        """Return the facts of a shard that was read to its end."""
        return _facts(url, self.samples[self.shards.index(url)])

    def label(self, unit: Unit, variant: int = 0) -> UnitResult:
        """Return the result of the teacher for a unit."""
        last = self.samples[self.shards.index(unit.shard)] - 1
        return _result(unit.name, unit.shard, unit.first, unit.count, last if last % 2 == 0 else -1, variant)


JOB = TinyJob((3, 2))
OTHER = TinyJob((3, 2), "sha256:another teacher")
JOBS = {job.digest: job for job in (JOB, OTHER)}


@cache
def _facts(url: str, samples: int) -> ShardFacts:
    return ShardFacts(url=url, size_bytes=1024, version="etag=1", sha256="ab" * 32, samples=samples)


@cache
def _result(unit: str, shard: str, first: int, count: int, bad: int, variant: int) -> UnitResult:
    indices = range(first, first + count)
    rows = [_row(unit, shard, index, variant) for index in indices if index != bad]
    refused = [
        {"unit": unit, "index": index, "key": f"k{index}", "code": "IMG_EMPTY", "detail": "0 bytes"}
        for index in indices
        if index == bad
    ]
    return UnitResult(rows, refused)


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
