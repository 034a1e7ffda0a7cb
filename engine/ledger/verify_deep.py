"""Verify an output against its inputs: read the shards again and compare every committed row.

For each sample of a unit, the key, caption, fields, location, bytes and size of the image, or the reason of its
rejection by the reader, are compared with the commit, and every difference is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.ledger.commits import read_commit
from engine.ledger.evidence import read_evidence, read_rejections
from engine.ledger.fingerprint import reading_digest
from engine.ledger.verify import COMMIT_GONE
from engine.reading.pixels import rebase_url
from engine.reading.raw_samples import RawSample
from engine.reading.sample_images import decode_sample_image
from engine.reading.shard_cache import ShardCache
from engine.reading.shard_sources import make_source
from engine.reading.shards import Shard
from engine.settings import InputSettings
from engine.storage.filesystems import absolute_url
from engine.storage.store import Store
from schemas.digests import canonical_json, sha256_hex
from schemas.errors import ConflictError, NotFoundError, SampleRejectedError, ShardDamagedError
from schemas.ledger import SnapshotEntry
from schemas.rows import EvidenceRow, RejectionRow, rows_of

# codes of the reader and the decoder; the finder and the teacher, which use other codes, do not run again
_READING_CODES = ("IMG_", "CAP_", "JSON_", "DUP_", "MEMBER_", "FRAME_", "SPANS_", "KEY_", "ROW_")


class InputVerifier:
    """Reads shards again as the job read them. The last shard stays open, because its units follow each other.

    settings: the job's `input` section, with the storage settings that reach its shards now
    roots:    URL prefixes and their replacements, for shards that moved
    """

    def __init__(
        self,
        settings: InputSettings,
        roots: Mapping[str, str] | None = None,
        shard_cache: ShardCache | None = None,
    ) -> None:
        self._settings, self._roots, self._source = settings, roots or {}, make_source(settings, shard_cache)
        self._open: tuple[str, Shard, str] | None = None

    def problems(self, store: Store, entry: SnapshotEntry) -> Iterator[str]:
        """Yield the differences between a committed unit and its shard. Raises RuntimeEnvironmentError, OSError."""
        try:
            record = read_commit(store, entry.unit, entry.fingerprint)
            rows = {row["index"]: row for row in rows_of(read_evidence(store, entry), EvidenceRow)}
            rejections = rows_of(read_rejections(store, entry), RejectionRow)
            codes = {row["index"]: row["code"] for row in rejections}
            if record is None:
                raise NotFoundError(COMMIT_GONE)
            shard, digest = self._shard(entry.shard)
        except (ConflictError, NotFoundError, ShardDamagedError) as error:
            yield str(error)
            return
        if record.parts.reading != reading_digest(self._settings):
            yield "its samples were read with rules of another version or job, so they cannot be compared"
            return
        if digest != record.unit.input_digest:
            yield f"{entry.shard}: its bytes have {digest}, expected {record.unit.input_digest} as labeled"
        yield from self._differences(shard, record.unit.first, record.unit.count, rows, codes)

    def _shard(self, url: str) -> tuple[Shard, str]:
        if self._open is None or self._open[0] != url:
            stat = self._source.stat(absolute_url(rebase_url(url, self._roots)), url)
            fetched = self._source.fetch(stat, url)
            self._open = (url, fetched.open(), "sha256:" + fetched.sha256())
        return self._open[1], self._open[2]

    def _differences(
        self, shard: Shard, first: int, count: int, rows: Mapping[int, EvidenceRow], codes: Mapping[int, str]
    ) -> Iterator[str]:
        try:
            raws = list(shard.samples(first, count))
            images = shard.images([raw for raw in raws if raw.rejected is None])
            for raw in raws:
                data = next(images) if raw.rejected is None else b""
                differences = _sample_differences(raw, data, rows.get(raw.index), codes.get(raw.index))
                yield from (f"sample {raw.index} ({raw.key!r}): {words}" for words in differences)
        except ShardDamagedError as damage:
            yield str(damage)
            return
        yield from (
            f"sample {index} is no longer in the shard" for index in range(first + len(raws), first + count)
        )


def _sample_differences(
    raw: RawSample, data: bytes, row: EvidenceRow | None, code: str | None
) -> Iterator[str]:
    """Yield the differences between a sample (image bytes: `data`) and its committed row or rejection code."""
    found, size = _read_again(raw, data)
    if row is None:
        if code is not None and code.startswith(_READING_CODES) and found != code:
            yield f"rejected with {code}, reading it now gives {found or 'a sample'}"
        return
    if found is not None:
        yield f"labeled, reading it now rejects it with {found}"
        return
    committed: Mapping[str, object] = row
    for name, now in _columns(raw, data, size).items():
        if committed[name] != now:
            yield f"{name} is {_shorten(now)}, labeled was {_shorten(committed[name])}"


def _read_again(raw: RawSample, data: bytes) -> tuple[str | None, dict[str, int]]:
    """Return the code with which reading or decoding rejects the sample, or None and the image's size."""
    try:
        if raw.rejected is not None:
            raise raw.rejected
        decoded = decode_sample_image(data, raw.source)
    except SampleRejectedError as rejected:
        return rejected.code, {}
    return None, {
        "width": decoded.width,
        "height": decoded.height,
        "exif_orientation": decoded.exif_orientation,
    }


def _columns(raw: RawSample, data: bytes, size: dict[str, int]) -> dict[str, object]:
    """Return the columns of an evidence row that depend on its shard, as the shard is now."""
    assert raw.pixels is not None
    return {
        "key": raw.key,
        "caption": raw.caption,
        "pixels": raw.pixels.model_dump(),
        "image_sha256": sha256_hex(data),
        "source_url": raw.source.url,
        "source_sha256": raw.source.sha256,
        "license": raw.source.license,
        "original_width": raw.source.original_width,
        "original_height": raw.source.original_height,
        "meta": canonical_json(dict(raw.meta)).decode("utf-8"),
        **size,
    }


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
