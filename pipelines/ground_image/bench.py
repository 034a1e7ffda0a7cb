"""Measure a teacher on the samples of a shard: images per second, memory, waste of batches, and the share of each part.

One process, one thread of work, so the figure is that of one actor without anything that overlaps.
"""

from __future__ import annotations

import resource
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engine.reading.sample_images import decode_sample_image
from engine.reading.shards import open_shard
from engine.settings import ReadingSettings
from engine.worker.batching import label_in_batches
from engine.worker.find_phrases import find_phrases
from pipelines.ground_image.teacher import GroundingTeacher
from pipelines.report_base import Report, Table
from schemas.errors import ConfigError, SampleRejectedError
from schemas.labeler import Labeler, PreparedSample, get_needed_size
from schemas.records import Region, Sample

PARTS = ("read", "decode", "find phrases", "prepare", "label")
WARM_UP = 1
"""Batches that are asked before the clock starts."""


class BenchReport(Report):
    """What labeling with one teacher costs on this machine."""

    model: str
    kind: str
    shard: str
    images: int = Field(description="images that were labeled")
    rejected: int = Field(description="samples without usable image or caption, not counted")
    phrases: int
    regions: int
    batch_size: int
    seconds: float
    images_per_s: float
    peak_memory_mib: float = Field(description="of the process, the libraries included")
    blank_rows: float = Field(description="share of the rows of all batches that were blank")
    padding: float | None = Field(description="share of the batches' pixels outside images; none: not known")
    parts: dict[str, float] = Field(description="share of the time by part")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        padding = "not known" if self.padding is None else f"{self.padding:.1%}"
        rows = [
            ("images", str(self.images)),
            ("rejected", str(self.rejected)),
            ("phrases", str(self.phrases)),
            ("regions", str(self.regions)),
            ("batch size", str(self.batch_size)),
            ("images/s", f"{self.images_per_s:.2f}"),
            ("peak memory", f"{self.peak_memory_mib:,.0f} MiB"),
            ("blank rows", f"{self.blank_rows:.1%}"),
            ("padding", padding),
            *[(f"time: {part}", f"{share:.1%}") for part, share in self.parts.items()],
        ]
        return [Table(f"{self.model} ({self.kind}) on {self.shard}", ("what", "value"), rows)]


@dataclass
class _Clock:
    """Seconds by part."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def run(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - begin


def bench_teacher(
    model: str, teacher: GroundingTeacher, shard: Path, images: int, reading: ReadingSettings
) -> BenchReport:
    """Label the first samples of a shard and measure each part.

    images: most samples to read
    raises: ConfigError for a shard without a usable sample
    """
    clock = _Clock()
    samples, rejected = _read_samples(teacher, shard, images, reading, clock)
    if not samples:
        raise ConfigError(
            f"none of the first {rejected} samples of {shard} has an image and a caption that can be used; give "
            "another shard, or correct --image and --caption"
        )
    prepared: list[tuple[int, PreparedSample]] = []
    for number, (sample, rgb_u8) in enumerate(samples):
        with clock.run("prepare"):
            prepared.append((number, teacher.labeler.prepare(sample, rgb_u8)))
    _warm_up(teacher.labeler, prepared[0][1])
    with clock.run("label"):
        answers = list(label_in_batches(teacher.labeler, prepared))
    regions: list[Region] = [region for answer in answers for region in answer.regions]
    total = sum(clock.seconds.values())
    return BenchReport(
        model=model,
        kind=teacher.kind,
        shard=str(shard),
        images=len(samples),
        rejected=rejected + sum(answer.rejected is not None for answer in answers),
        phrases=sum(len(sample.phrases) for sample, _ in samples),
        regions=len(regions),
        batch_size=teacher.labeler.batch_size,
        seconds=total,
        images_per_s=len(samples) / total,
        peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        blank_rows=count_blank_rows(prepared, teacher.labeler.batch_size),
        padding=measure_padding(prepared),
        parts={part: clock.seconds[part] / total for part in PARTS},
    )


def _read_samples(
    teacher: GroundingTeacher, path: Path, images: int, reading: ReadingSettings, clock: _Clock
) -> tuple[list[tuple[Sample, NDArray[np.uint8]]], int]:
    samples: list[tuple[Sample, NDArray[np.uint8]]] = []
    rejected = 0
    with clock.run("read"):
        shard = open_shard(path, str(path), reading)
        raws = list(islice(shard.samples(0, len(shard)), images))
    for raw in raws:
        if raw.rejected is not None or raw.pixels is None:
            rejected += 1
            continue
        with clock.run("read"):
            (data,) = shard.images([raw])
        try:
            with clock.run("decode"):
                decoded = decode_sample_image(data, raw.source, get_needed_size(teacher.labeler))
        except SampleRejectedError:
            rejected += 1
            continue
        with clock.run("find phrases"):
            (found,) = find_phrases(teacher.finder, [raw.caption], None)
        if isinstance(found, SampleRejectedError) or not found.phrases:
            rejected += 1
            continue
        sample = Sample(
            unit="bench", shard=str(path), index=raw.index, key=raw.key, pixels=raw.pixels, image_sha256="",
            caption=raw.caption, width=decoded.width, height=decoded.height, phrases=found.phrases,
        )  # fmt: skip
        samples.append((sample, decoded.rgb_u8))
    return samples, rejected


def _warm_up(labeler: Labeler, prepared: PreparedSample) -> None:
    for _ in range(WARM_UP):
        labeler.label([prepared] + [None] * (labeler.batch_size - 1))


def count_blank_rows(prepared: Sequence[tuple[int, PreparedSample]], batch_size: int) -> float:
    """Return the share of rows that fill up the last batch of each bucket."""
    groups = Counter((item.second_pass, item.bucket) for _, item in prepared)
    total = sum(-(-count // batch_size) * batch_size for count in groups.values())
    return 1 - len(prepared) / total


def measure_padding(prepared: Sequence[tuple[int, PreparedSample]]) -> float | None:
    """Return the mean share of a row's pixels that no image fills. None if the teacher does not say."""
    filled = [item.filled for _, item in prepared if item.filled is not None]
    return 1 - sum(filled) / len(filled) if filled else None
