"""Label one unit: read its samples, decode the images, find phrases, ask the teacher, make rows or rejections.

Every sample of the unit becomes one row or one rejection. They depend only on the shard's bytes, the teacher, the
phrase pipeline, the evidence settings and the batch size.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from enum import Enum
from typing import cast

from engine.ledger.unit_result import UnitResult
from engine.reading.images import DecodedImage
from engine.reading.raw_samples import RawSample, SampleSource
from engine.reading.sample_images import decode_sample_image
from engine.reading.shards import Shard
from engine.threads import prefetch_map
from engine.worker.batching import BatchAnswer, label_in_batches
from engine.worker.decoy_pass import DecoyPass
from engine.worker.errors import TeacherBrokenError
from engine.worker.evidence_rows import evidence_row, mark_dropped, rejection_row
from engine.worker.find_phrases import find_phrases
from engine.worker.loading import LoadedTeacher
from engine.worker.region_filter import evidence_regions
from schemas.errors import GroundswellError, SampleRejectedError, stored_name
from schemas.labeler import DecoyLabeler, FoundPhrases, NeededSize, PreparedSample, get_needed_size
from schemas.ledger import Unit
from schemas.records import Region, Sample
from schemas.rows import EvidenceRow, RejectionRow
from schemas.settings import EvidenceSettings

_TEACHER_CODES = ("TEACHER_ERROR", "TEACHER_NONFINITE", "TEACHER_ANSWER", "OOM")


def check_teacher(unit: Unit, result: UnitResult) -> None:
    """Raise TeacherBrokenError if several samples failed in the finder or the teacher and none got an answer."""
    failed = [row for row in result.rejections if row["code"] in _TEACHER_CODES]
    is_answered = any(row["phrases"] for row in result.rows)  # a sample without a phrase is not asked about
    if len(failed) > 1 and not is_answered:
        last = failed[-1]
        # stored in snapshots, so the text must not change
        raise TeacherBrokenError(
            f"{unit.name}: all {len(failed)} samples failed, e.g. {last['code']}: {last['detail']}"
        )


class _Pass(Enum):
    """What the teacher is asked about a sample."""

    OWN_PHRASES = "own phrases"
    DECOYS = "decoys"


_Position = tuple[int, _Pass]
_Found = FoundPhrases | SampleRejectedError


@dataclass(frozen=True)
class _ReadySample:
    """A sample to ask about. Without `own`, it has no phrase or was rejected."""

    index: int
    own: PreparedSample | None = None
    decoys: PreparedSample | None = None
    rejected: SampleRejectedError | None = None


class UnitRun:
    """The labeling of one unit, in two steps: the next unit is prepared while this one is with the teacher."""

    def __init__(
        self,
        unit: Unit,
        shard: Shard,
        teacher: LoadedTeacher,
        evidence: EvidenceSettings,
        *,
        span: range | None = None,
        threads: int = 1,
        progress: Callable[[], None] = lambda: None,
        prepare_lock: AbstractContextManager[bool] | None = None,
    ) -> None:
        """Set up the run.

        span:         indices of the samples to label; none: all of the unit
        threads:      number of threads that decode images
        progress:     called for every prepared sample and every answer
        prepare_lock: held while the labeler prepares a sample, if several runs share the labeler
        """
        self._unit, self._shard, self._evidence = unit, shard, evidence
        self._finder, self._labeler = teacher.finder, teacher.labeler
        self._needed_size = get_needed_size(teacher.labeler)
        self._threads, self._progress = threads, progress
        self._prepare_lock = prepare_lock or threading.Lock()
        self._decoys: DecoyPass | None = None
        if teacher.chooser is not None:  # then `make_chooser` saw that the labeler takes decoys
            self._decoys = DecoyPass(teacher.chooser, cast(DecoyLabeler, teacher.labeler), evidence)
        self._span = range(unit.first, unit.first + unit.count) if span is None else span
        self._rows: dict[int, EvidenceRow] = {}
        self._rejected: dict[int, RejectionRow] = {}
        self._samples: dict[int, Sample] = {}
        self.keys: dict[int, str] = {}
        self._ready: Generator[_ReadySample, None, None] | None = None

    def begin(self, when_prepared: Callable[[], None] = lambda: None) -> None:
        """Read the samples, find phrases and start to decode. `when_prepared` is called once all images were read."""
        raws = list(self._shard.samples(self._span.start, len(self._span)))
        self.keys = {raw.index: raw.key for raw in raws}
        for raw in raws:
            if raw.rejected is not None:
                self._reject(raw.index, raw.rejected)
        readable = [raw for raw in raws if raw.rejected is None]
        found = find_phrases(self._finder, [raw.caption for raw in readable], [raw.spans for raw in readable])
        depth = 2 * self._labeler.batch_size
        images = self._read_images(readable, found, when_prepared)
        self._ready = prefetch_map(self._make_ready, images, depth, self._threads)

    def finish(self) -> UnitResult:
        """Ask the teacher about all samples and return the result."""
        assert self._ready is not None, "begin() comes first"
        with closing(self._ready) as ready:
            for answer in label_in_batches(self._labeler, self._questions(ready)):
                self._progress()
                index, kind = answer.position
                if kind is _Pass.DECOYS:
                    self._accept_decoys(index, answer)
                elif (rejected := answer.rejected or self._accept(index, answer.regions)) is not None:
                    self._reject(index, rejected)
        return self._result()

    def close(self) -> None:
        """Stop decoding, for a unit that is given up between its steps."""
        if self._ready is not None:
            self._ready.close()

    def _read_images(
        self, readable: Sequence[RawSample], found: Sequence[_Found], when_read: Callable[[], None]
    ) -> Iterator[tuple[RawSample, _Found, bytes]]:
        try:
            yield from zip(readable, found, self._shard.images(readable), strict=True)
        finally:
            when_read()

    def _make_ready(self, item: tuple[RawSample, _Found, bytes]) -> _ReadySample:
        raw, found, data = item
        try:
            if isinstance(found, SampleRejectedError):
                return _ReadySample(raw.index, rejected=found)
            return self._prepare(self._decode(raw, found, data))
        except SampleRejectedError as rejected:
            return _ReadySample(raw.index, rejected=rejected)
        finally:
            self._progress()

    def _decode(self, raw: RawSample, found: FoundPhrases, data: bytes) -> tuple[Sample, DecodedImage]:
        decoded = _decode_image(data, raw.source, self._needed_size)
        assert raw.pixels is not None, "a readable sample has its image"
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
        return sample, decoded

    def _prepare(self, item: tuple[Sample, DecodedImage]) -> _ReadySample:
        sample, decoded = item
        if not sample.phrases:
            return _ReadySample(sample.index)
        try:
            # Tokenizers of the usual libraries mix up their settings between threads.
            with self._prepare_lock:
                own = self._labeler.prepare(sample, decoded.rgb_u8)
                sample = self._samples[sample.index] = mark_dropped(sample, own.dropped)
                decoys = self._decoys.prepare(sample, decoded.rgb_u8) if self._decoys else None
            return _ReadySample(sample.index, own, decoys)
        except (SampleRejectedError, GroundswellError, MemoryError):
            raise  # for MemoryError, only a process with one sample alone can show which sample is to blame
        except Exception as error:  # as in batching, it costs this sample
            raise SampleRejectedError("TEACHER_ERROR", f"prepare: {stored_name(error)}: {error}") from error

    def _questions(self, ready: Iterator[_ReadySample]) -> Iterator[tuple[_Position, PreparedSample]]:
        """Yield what to ask the teacher. Settle the rest here: rejections, and samples without a phrase."""
        for item in ready:
            if item.rejected is not None:
                self._reject(item.index, item.rejected)
            elif item.own is None:
                self._accept(item.index, ())
            else:
                yield (item.index, _Pass.OWN_PHRASES), item.own
                if item.decoys is not None:
                    yield (item.index, _Pass.DECOYS), item.decoys

    def _accept(self, index: int, regions: Sequence[Region]) -> SampleRejectedError | None:
        """Make the row of a sample, or return why its answer is rejected."""
        sample = self._samples.pop(index)
        try:
            rows, truncated = evidence_regions(sample, regions, self._evidence)
        except SampleRejectedError as rejected:
            return rejected
        except (GroundswellError, MemoryError):
            raise
        except Exception as error:  # the answer is not a list of regions
            return SampleRejectedError("TEACHER_ERROR", f"regions: {stored_name(error)}: {error}")
        self._rows[index] = evidence_row(sample, rows, truncated)
        return None

    def _accept_decoys(self, index: int, answer: BatchAnswer[_Position]) -> None:
        if self._decoys is not None and answer.rejected is None:
            self._decoys.accept(index, answer.regions)

    def _reject(self, index: int, rejected: SampleRejectedError) -> None:
        self._samples.pop(index, None)
        self._rejected[index] = rejection_row(self._unit, index, self.keys[index], rejected)

    def _result(self) -> UnitResult:
        decoys = self._decoys
        rows = (
            self._rows if decoys is None else {n: decoys.append_to(n, row) for n, row in self._rows.items()}
        )
        return UnitResult(
            [rows[index] for index in sorted(rows)],
            [self._rejected[index] for index in sorted(self._rejected)],
        )


def _decode_image(data: bytes, source: SampleSource, needed_size: NeededSize | None) -> DecodedImage:
    try:
        return decode_sample_image(data, source, needed_size)
    except (SampleRejectedError, MemoryError):
        raise
    except Exception as error:  # a defect of a decoder costs the image that triggered it
        raise SampleRejectedError("IMG_DECODE", f"{stored_name(error)}: {error}") from error
