"""Measure a teacher on the samples of a shard: images per second, memory, waste of batches, and the share of each part.

One process, one thread of work, so the figure is that of one actor without anything that overlaps.
"""

from __future__ import annotations

import resource
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pydantic import Field

from engine.reading.raw_samples import RawSample
from engine.reading.sample_images import decode_sample_image
from engine.reading.shards import Shard, open_shard
from engine.settings import ReadingSettings
from engine.worker.batching import BatchAnswer, label_in_batches
from engine.worker.find_phrases import find_phrases
from pipelines.ground_image.teacher import GroundingTeacher
from pipelines.report_base import Report, Table
from schemas.errors import ConfigError, SampleRejectedError
from schemas.labeler import PreparedSample, get_needed_size
from schemas.records import Sample

PARTS = ("read", "decode", "find phrases", "prepare", "label")
WARM_UP = 1
"""Samples that are labeled before the clock starts."""


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
    peak_gpu_memory_mib: float | None = Field(description="of tensors on the GPU; none: no GPU")
    blank_rows: float = Field(description="share of the rows of all batches that were blank")
    padding: float | None = Field(description="share of the batches' pixels outside images; none: not known")
    parts: dict[str, float] = Field(description="share of the time by part")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        padding = "not known" if self.padding is None else f"{self.padding:.1%}"
        gpu_mib = self.peak_gpu_memory_mib
        gpu = [] if gpu_mib is None else [("peak GPU memory", f"{gpu_mib:,.0f} MiB")]
        rows = [
            ("images", str(self.images)),
            ("rejected", str(self.rejected)),
            ("phrases", str(self.phrases)),
            ("regions", str(self.regions)),
            ("batch size", str(self.batch_size)),
            ("images/s", f"{self.images_per_s:.2f}"),
            ("peak memory", f"{self.peak_memory_mib:,.0f} MiB"),
            *gpu,
            ("blank rows", f"{self.blank_rows:.1%}"),
            ("padding", padding),
            *[(f"time: {part}", f"{share:.1%}") for part, share in self.parts.items()],
        ]
        return [Table(f"{self.model} ({self.kind}) on {self.shard}", ("what", "value"), rows)]


def bench_teacher(
    model: str, teacher: GroundingTeacher, shard: Path, images: int, reading: ReadingSettings
) -> BenchReport:
    """Label the first samples of a shard and measure each part.

    images: most samples to read
    raises: ConfigError for a shard without a usable sample
    """
    _warm_up(teacher, _Stream(teacher, shard, images, reading))
    stream = _Stream(teacher, shard, images, reading)
    begin = time.perf_counter()
    answers = list(label_in_batches(teacher.labeler, stream.prepare()))
    total = time.perf_counter() - begin
    labeled = sum(answer.rejected is None for answer in answers)
    if not labeled:
        raise ConfigError(
            f"none of the first {stream.read} samples of {shard} has an image and a caption that can be used; give "
            f"another shard, or correct --image and --caption (the last reason: {_find_reason(stream, answers)})"
        )
    parts = {**stream.seconds, "label": total - sum(stream.seconds.values())}
    return BenchReport(
        model=model,
        kind=teacher.kind,
        shard=str(shard),
        images=labeled,
        rejected=stream.read - labeled,
        phrases=stream.phrases,
        regions=sum(len(answer.regions) for answer in answers),
        batch_size=teacher.labeler.batch_size,
        seconds=total,
        images_per_s=labeled / total,
        peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        peak_gpu_memory_mib=_read_gpu_memory(),
        blank_rows=count_blank_rows(stream.prepared, teacher.labeler.batch_size),
        padding=measure_padding(stream.prepared),
        parts={part: parts.get(part, 0.0) / total for part in PARTS},
    )


class _Stream:
    """The samples of a shard on their way to a teacher, one at a time, with the time of each part."""

    def __init__(self, teacher: GroundingTeacher, shard: Path, images: int, reading: ReadingSettings) -> None:
        self._teacher, self._path, self._images, self._reading = teacher, shard, images, reading
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.read = self.phrases = 0
        self.last_rejected: SampleRejectedError | None = None
        self.prepared: list[tuple[int, PreparedSample]] = []
        """Without their inputs, for counting."""

    def prepare(self) -> Iterator[tuple[int, PreparedSample]]:
        """Yield the position of each usable sample with what the teacher needs of it."""
        with self._measure("read"):
            shard = open_shard(self._path, str(self._path), self._reading)
            raws = list(islice(shard.samples(0, len(shard)), self._images))
        for raw in raws:
            self.read += 1
            try:
                prepared = self._prepare(shard, raw)
            except SampleRejectedError as rejected:
                self.last_rejected = rejected
                continue
            if prepared is not None:
                self.prepared.append((raw.index, replace(prepared, inputs=None)))
                yield raw.index, prepared

    def _prepare(self, shard: Shard, raw: RawSample) -> PreparedSample | None:
        """Return a prepared sample, None without a phrase. Raises SampleRejectedError."""
        if raw.rejected is not None or raw.pixels is None:
            raise raw.rejected or SampleRejectedError("IMG_EMPTY", "no image")
        with self._measure("read"):
            (data,) = shard.images([raw])
        with self._measure("decode"):
            decoded = decode_sample_image(data, raw.source, get_needed_size(self._teacher.labeler))
        with self._measure("find phrases"):
            (found,) = find_phrases(self._teacher.finder, [raw.caption], None)
        if isinstance(found, SampleRejectedError):
            raise found
        if not found.phrases:
            return None
        sample = Sample(
            unit="bench", shard=str(self._path), index=raw.index, key=raw.key, pixels=raw.pixels, image_sha256="",
            caption=raw.caption, width=decoded.width, height=decoded.height, phrases=found.phrases,
        )  # fmt: skip
        self.phrases += len(found.phrases)
        with self._measure("prepare"):
            return self._teacher.labeler.prepare(sample, decoded.rgb_u8)

    @contextmanager
    def _measure(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - begin


def _find_reason(stream: _Stream, answers: Sequence[BatchAnswer[int]]) -> str:
    rejected = next((answer.rejected for answer in answers if answer.rejected), stream.last_rejected)
    return "no phrase in a caption" if rejected is None else f"{rejected.code}: {rejected.detail}"


def _warm_up(teacher: GroundingTeacher, stream: _Stream) -> None:
    """Label the first usable sample, which is prepared for this alone."""
    for _ in label_in_batches(teacher.labeler, islice(stream.prepare(), WARM_UP)):
        pass


def _read_gpu_memory() -> float | None:
    """Return the peak of the memory on a GPU in MiB, None without one."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None


def count_blank_rows(prepared: Sequence[tuple[int, PreparedSample]], batch_size: int) -> float:
    """Return the share of rows that fill up the last batch of each bucket."""
    groups = Counter((item.second_pass, item.bucket) for _, item in prepared)
    total = sum(-(-count // batch_size) * batch_size for count in groups.values())
    return 1 - len(prepared) / total


def measure_padding(prepared: Sequence[tuple[int, PreparedSample]]) -> float | None:
    """Return the mean share of a row's pixels that no image fills. None if the teacher does not say."""
    filled = [item.filled for _, item in prepared if item.filled is not None]
    return 1 - sum(filled) / len(filled) if filled else None
