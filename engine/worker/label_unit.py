"""Run one unit: read, decode, find phrases, ask the teacher, and give rows or rejections. Both executors call this.

Promise: every sample of the unit is in exactly one of the two lists, and the lists depend on nothing but the shard's
bytes, the teacher, the phrase pipeline, the evidence settings and the batch size.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from engine.ledger.unit_result import UnitResult
from engine.reading.images import DecodedImage
from engine.reading.raw_samples import RawSample, SampleSource
from engine.reading.sample_images import decode_sample_image
from engine.reading.shards import Shard
from engine.threads import prefetch_map
from engine.worker.batching import Asked, ask
from engine.worker.decoy_pass import SecondPass
from engine.worker.evidence_rows import evidence_row, rejection_row, without_phrases
from engine.worker.find_phrases import find_phrases
from engine.worker.regions import evidence_regions
from schemas.errors import GroundswellError, SampleRejectedError
from schemas.labeler import FoundPhrases, Labeler, PhraseFinder, PreparedSample
from schemas.ledger import Unit
from schemas.records import Region, Sample
from schemas.settings import EvidenceSettings

_Ready = tuple[int, PreparedSample | Sample | SampleRejectedError, PreparedSample | None]
_OWN, _DECOYS = False, True  # what is asked about a sample
_TEACHERS_FAULT = ("TEACHER_ERROR", "TEACHER_NONFINITE", "OOM")


class TeacherBroken(GroundswellError):
    """No sample got an answer and several failed in the finder or the teacher: that is not the samples' doing.

    Nothing is committed.
    """


@dataclass(frozen=True)
class Labelled:
    """What became of a unit, or of some samples of it; `answered` counts samples that the teacher took."""

    result: UnitResult
    answered: int


def run_unit(
    unit: Unit, shard: Shard, finder: PhraseFinder, labeler: Labeler, evidence: EvidenceSettings
) -> UnitResult:
    """Label a unit's samples. Raises ShardDamagedError, TeacherBroken, and what storage raises."""
    run = UnitRun(unit, shard, finder, labeler, evidence)
    run.begin()
    return checked(unit, run.label())


def checked(unit: Unit, labelled: Labelled) -> UnitResult:
    """The unit's result. Raises TeacherBroken when nothing but the teacher can be to blame."""
    blamed = [row for row in labelled.result.rejections if row["code"] in _TEACHERS_FAULT]
    if len(blamed) > 1 and not labelled.answered:
        last = blamed[-1]
        raise TeacherBroken(
            f"{unit.name}: all {len(blamed)} samples failed, e.g. {last['code']}: {last['detail']}"
        )
    return labelled.result


class UnitRun:
    """One unit in two steps, so that the next unit is made ready while this one is with the teacher."""

    def __init__(
        self,
        unit: Unit,
        shard: Shard,
        finder: PhraseFinder,
        labeler: Labeler,
        evidence: EvidenceSettings,
        span: range | None = None,
        threads: int = 1,
        progress: Callable[[], None] = lambda: None,
        preparing: AbstractContextManager[Any] | None = None,
        second_pass: SecondPass | None = None,
    ) -> None:
        """span:      only the samples at these positions
        threads:   so many decode
        progress:  called for every sample prepared and every answer
        preparing: a lock to hold while the labeler prepares, where several runs share it
        second_pass: asks for decoys
        """
        self._unit, self._shard, self._evidence = unit, shard, evidence
        self._finder, self._labeler = finder, labeler
        self._threads, self._progress, self._second_pass = threads, progress, second_pass
        self._preparing = preparing or threading.Lock()
        self._span = range(unit.first, unit.first + unit.count) if span is None else span
        self._rows: dict[int, dict[str, Any]] = {}
        self._rejected: dict[int, dict[str, Any]] = {}
        self._samples: dict[int, Sample] = {}
        self.keys: dict[int, str] = {}
        self._ready: Generator[_Ready, None, None] | None = None

    def begin(self, when_prepared: Callable[[], None] = lambda: None) -> None:
        """Read, find phrases, and start to decode. `when_prepared` is called once when every image was drawn."""
        raws = list(self._shard.samples(self._span.start, len(self._span)))
        self.keys = {raw.index: raw.key for raw in raws}
        readable = [raw for raw in raws if raw.rejected is None]
        for raw in raws:
            if raw.rejected is not None:
                self._reject(raw.index, raw.rejected)
        found = find_phrases(self._finder, [raw.caption for raw in readable], [raw.spans for raw in readable])
        depth = 2 * self._labeler.batch_size
        drawn = self._drawn(readable, found, when_prepared)
        self._ready = prefetch_map(self._ready_one, drawn, depth, self._threads)

    def label(self) -> Labelled:
        """Ask the teacher and wait for the answers."""
        assert self._ready is not None, "begin() comes first"
        answered = 0
        with closing(self._ready) as ready:
            for answer in ask(self._labeler, self._to_be_asked(ready)):
                self._progress()
                index, what = answer.position
                if what is _DECOYS:
                    self._accept_decoys(index, answer)
                    continue
                verdict = answer.rejected or self._accept(index, answer.regions)
                if verdict is None:
                    answered += 1
                else:
                    self._reject(index, verdict)
        return Labelled(self._result(), answered)

    def close(self) -> None:
        """Stop decoding; for a unit that is given up between its steps."""
        if self._ready is not None:
            self._ready.close()

    def _drawn(
        self,
        readable: Sequence[RawSample],
        found: Sequence[FoundPhrases | SampleRejectedError],
        when_prepared: Callable[[], None],
    ) -> Iterator[tuple[RawSample, FoundPhrases | SampleRejectedError, bytes]]:
        try:
            yield from zip(readable, found, self._shard.images(readable), strict=True)
        finally:
            when_prepared()

    def _ready_one(self, drawn: tuple[RawSample, FoundPhrases | SampleRejectedError, bytes]) -> _Ready:
        raw, phrases, data = drawn
        try:
            if isinstance(phrases, SampleRejectedError):
                return raw.index, phrases, None
            return raw.index, *self._prepare(raw, phrases, data)
        except SampleRejectedError as rejected:
            return raw.index, rejected, None
        finally:
            self._progress()

    def _prepare(
        self, raw: RawSample, found: FoundPhrases, data: bytes
    ) -> tuple[PreparedSample | Sample, PreparedSample | None]:
        decoded = _decoded(data, raw.source)
        sample = Sample(
            unit=self._unit.name,
            shard=self._unit.shard,
            index=raw.index,
            key=raw.key,
            pixels=raw.pixels,
            image_sha256=hashlib.sha256(data).hexdigest(),
            caption=raw.caption,
            width=decoded.width,
            height=decoded.height,
            original_width=raw.source.original_width,
            original_height=raw.source.original_height,
            exif_orientation=decoded.exif_orientation,
            source_url=raw.source.url,
            source_sha256=raw.source.sha256,
            license=raw.source.license,
            meta=dict(raw.meta),
            phrases=found.phrases,
            dropped_phrases=found.dropped,
        )
        self._samples[raw.index] = sample
        if not sample.phrases:
            return sample, None
        try:
            with self._preparing:  # tokenizers of the usual libraries mix up their settings between threads
                prepared = self._labeler.prepare(sample, decoded.rgb_u8)
                sample = self._samples[raw.index] = without_phrases(sample, prepared.dropped)
                second = self._second_pass.prepare(sample, decoded.rgb_u8) if self._second_pass else None
            return prepared, second
        except (SampleRejectedError, GroundswellError, MemoryError):
            raise  # out of memory: whose fault it is, a process that holds one sample alone has to show
        except Exception as error:  # as in asking: it costs this sample
            raise SampleRejectedError("TEACHER_ERROR", f"prepare: {type(error).__name__}: {error}") from error

    def _to_be_asked(self, ready: Iterator[_Ready]) -> Iterator[tuple[tuple[int, bool], PreparedSample]]:
        """What is to be asked; the rest is settled here: rejections, and samples without a phrase."""
        for index, item, decoys in ready:
            if isinstance(item, PreparedSample):
                yield (index, _OWN), item
                if decoys is not None:
                    yield (index, _DECOYS), decoys
            elif isinstance(item, SampleRejectedError):
                self._reject(index, item)
            else:
                self._accept(index, ())

    def _accept(self, index: int, regions: Sequence[Region]) -> SampleRejectedError | None:
        sample = self._samples.pop(index)
        try:
            rows, truncated = evidence_regions(sample, regions, self._evidence)
        except SampleRejectedError as rejected:
            return rejected
        except (GroundswellError, MemoryError):
            raise
        except Exception as error:  # an answer that is no list of regions
            return SampleRejectedError("TEACHER_ERROR", f"regions: {type(error).__name__}: {error}")
        self._rows[index] = evidence_row(sample, rows, truncated)
        return None

    def _accept_decoys(self, index: int, answer: Asked[tuple[int, bool]]) -> None:
        if self._second_pass is not None and answer.rejected is None:
            self._second_pass.accept(index, answer.regions)

    def _reject(self, index: int, rejected: SampleRejectedError) -> None:
        self._samples.pop(index, None)
        self._rejected[index] = rejection_row(self._unit, index, self.keys[index], rejected)

    def _result(self) -> UnitResult:
        second = self._second_pass
        rows = self._rows if second is None else {n: second.add_to(n, row) for n, row in self._rows.items()}
        return UnitResult(
            [rows[index] for index in sorted(rows)],
            [self._rejected[index] for index in sorted(self._rejected)],
        )


def _decoded(data: bytes, source: SampleSource) -> DecodedImage:
    try:
        return decode_sample_image(data, source)
    except (SampleRejectedError, MemoryError):
        raise
    except Exception as error:  # a defect of a decoder costs the image that found it
        raise SampleRejectedError("IMG_DECODE", f"{type(error).__name__}: {error}") from error
