"""Run one unit: read, decode, find phrases, ask the teacher, and give rows or rejections. Both executors call this.

Promise: every sample of the unit is in exactly one of the two lists, and the lists depend on nothing but the shard's
bytes, the teacher, the phrase pipeline, the evidence settings and the batch size.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from engine.ledger.unit_result import UnitResult
from engine.reading.raw_samples import RawSample
from engine.reading.sample_images import decode_sample_image
from engine.reading.shards import Shard
from engine.redaction import redacted
from engine.work.ahead import ahead
from engine.work.asking import ask
from engine.work.finding import find_phrases
from engine.work.regions import evidence_regions
from schemas.codes import check_code
from schemas.digests import canonical_json
from schemas.errors import GroundswellError, SampleRejected
from schemas.labeler import FoundPhrases, Labeler, PhraseFinder, Prepared
from schemas.ledger import Unit
from schemas.records import DroppedPhrase, Region, Rejection, Sample
from schemas.settings import EvidenceSettings

_TEACHERS_FAULT = ("TEACHER_ERROR", "TEACHER_NONFINITE", "OOM")


class TeacherBroken(GroundswellError):
    """No sample got an answer and several failed in the finder or the teacher: that is not the samples' doing.

    Nothing is committed.
    """


def run_unit(
    unit: Unit, shard: Shard, finder: PhraseFinder, labeler: Labeler, evidence: EvidenceSettings
) -> UnitResult:
    """Label a unit's samples. Raises ShardDamaged, TeacherBroken, and what storage raises."""
    return _UnitRun(unit, shard, finder, labeler, evidence).run()


class _UnitRun:
    def __init__(
        self, unit: Unit, shard: Shard, finder: PhraseFinder, labeler: Labeler, evidence: EvidenceSettings
    ) -> None:
        self._unit, self._shard, self._evidence = unit, shard, evidence
        self._finder, self._labeler = finder, labeler
        self._rows: dict[int, dict[str, Any]] = {}
        self._rejected: dict[int, dict[str, Any]] = {}
        self._samples: dict[int, Sample] = {}

    def run(self) -> UnitResult:
        raws = list(self._shard.samples(self._unit.first, self._unit.count))
        keys = {raw.index: raw.key for raw in raws}
        readable = [raw for raw in raws if raw.rejected is None]
        for raw in raws:
            if raw.rejected is not None:
                self._reject(raw.index, raw.key, raw.rejected)
        found = find_phrases(self._finder, [raw.caption for raw in readable])
        answered = 0
        # each item of the thread is (index, ready): a prepared sample, None for one without phrases, a rejection
        depth = 2 * self._labeler.batch_size
        for answer in ask(self._labeler, self._prepared(ahead(self._ready(readable, found), depth), keys)):
            verdict = answer.rejected or self._accept(answer.position, answer.regions)
            if verdict is None:
                answered += 1
            else:
                self._reject(answer.position, keys[answer.position], verdict)
        blamed = [row for row in self._rejected.values() if row["code"] in _TEACHERS_FAULT]
        if len(blamed) > 1 and not answered:
            last = blamed[-1]
            raise TeacherBroken(
                f"{self._unit.name}: all {len(blamed)} samples failed, e.g. {last['code']}: {last['detail']}"
            )
        return self._result()

    def _ready(
        self, readable: Sequence[RawSample], found: Sequence[FoundPhrases | SampleRejected]
    ) -> Iterator[tuple[int, Prepared | Sample | SampleRejected]]:
        for raw, phrases, data in zip(readable, found, self._shard.images(readable), strict=True):
            try:
                if isinstance(phrases, SampleRejected):
                    raise phrases
                yield raw.index, self._prepare(raw, phrases, data)
            except SampleRejected as rejected:
                yield raw.index, rejected

    def _prepare(self, raw: RawSample, found: FoundPhrases, data: bytes) -> Prepared | Sample:
        decoded = decode_sample_image(data, raw.source)
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
            return sample
        try:
            prepared = self._labeler.prepare(sample, decoded.rgb_u8)
            self._samples[raw.index] = without_phrases(sample, prepared.dropped)
            return prepared
        except (SampleRejected, GroundswellError):
            raise
        except Exception as error:  # as in asking: it costs this sample
            raise SampleRejected("TEACHER_ERROR", f"prepare: {type(error).__name__}: {error}") from error

    def _prepared(
        self, ready: Iterator[tuple[int, Prepared | Sample | SampleRejected]], keys: dict[int, str]
    ) -> Iterator[tuple[int, Prepared]]:
        """What is to be asked; the rest is settled here: rejections, and samples without a phrase."""
        for index, item in ready:
            if isinstance(item, Prepared):
                yield index, item
            elif isinstance(item, SampleRejected):
                self._reject(index, keys[index], item)
            else:
                self._accept(index, ())

    def _accept(self, index: int, regions: Sequence[Region]) -> SampleRejected | None:
        sample = self._samples.pop(index)
        try:
            rows, truncated = evidence_regions(sample, regions, self._evidence)
        except SampleRejected as rejected:
            return rejected
        self._rows[index] = evidence_row(sample, rows, truncated)
        return None

    def _reject(self, index: int, key: str, rejected: SampleRejected) -> None:
        self._samples.pop(index, None)
        record = Rejection(
            unit=self._unit.name,
            index=index,
            key=key,
            code=check_code(rejected.code),
            detail=_storable(rejected.detail),
        )
        self._rejected[index] = record.model_dump()

    def _result(self) -> UnitResult:
        return UnitResult(
            [self._rows[index] for index in sorted(self._rows)],
            [self._rejected[index] for index in sorted(self._rejected)],
        )


def without_phrases(sample: Sample, dropped: Sequence[tuple[int, str]]) -> Sample:
    """The sample with phrases that the teacher could not be asked about marked, and listed with their code."""
    if not dropped:
        return sample
    phrases = list(sample.phrases)
    listed = list(sample.dropped_phrases)
    for number, code in dropped:
        phrase = phrases[number]
        phrases[number] = phrase.model_copy(update={"groundable": False})
        if phrase.begin is not None and phrase.end is not None:
            listed.append(DroppedPhrase(begin=phrase.begin, end=phrase.end, text=phrase.text, code=code))
    return sample.model_copy(update={"phrases": tuple(phrases), "dropped_phrases": tuple(listed)})


def evidence_row(sample: Sample, regions: list[dict[str, Any]], truncated: set[int]) -> dict[str, Any]:
    """A plain row in the form of `schemas.arrow.EVIDENCE`."""
    row = sample.model_dump()
    row["meta"] = canonical_json(row["meta"]).decode("utf-8")
    for index in truncated:
        row["phrases"][index]["truncated"] = True
    return {**row, "phrases": list(row["phrases"]), "regions": regions}


def _storable(detail: str) -> str:
    """The detail as valid UTF-8, without secrets and memory addresses, which would differ from run to run."""
    written = detail.encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"0x[0-9a-f]{6,}", "0x", redacted(written))
