"""Draw a pool of decoys from a job's own captions: a seeded sample, bounded in shards, captions and bytes.

The result is a function of the seed, the phrase pipeline and the bytes of the shards read. Whatever the size of the
input, at most MAX_SHARDS shards are fetched, and phrases are found in at most MAX_CAPTIONS captions.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from engine.reading.shard_cache import ShardStat
from engine.reading.shard_sources import make_source
from engine.settings import InputSettings
from engine.task import Factory
from engine.worker.find_phrases import find_phrases
from engine.worker.loading import make_finder
from schemas.decoys import DecoyPool
from schemas.errors import ConfigError, SampleRejectedError, ShardDamagedError
from schemas.labeler import FoundPhrases, PhraseFinder
from schemas.ledger import bare_url
from teacher.decoys.pool import pool_from_captions

log = logging.getLogger(__name__)
MAX_SHARDS = 8
MAX_BYTES = 2 * 2**30
MAX_CAPTIONS = 8192
_BATCH_SIZE = 512


def draw_pool(settings: InputSettings, seed: int, finder: Factory, shards: Sequence[ShardStat]) -> DecoyPool:
    """Draw the pool of a job. Raises ConfigError if no caption can be read."""
    captions, shards_read = _read_captions(settings, seed, choose_shards(seed, shards))
    if not captions:
        raise ConfigError(
            f"decoys: no caption could be read from {shards_read} shards, so no pool can be drawn; list nouns with "
            "decoys.pool, or set decoys.share: 0"
        )
    log.info("drawing a pool of decoys from %d captions of %d shards", len(captions), shards_read)
    source: dict[str, JsonValue] = {"kind": "captions", "captions": len(captions), "shards": shards_read}
    return pool_from_captions(_find_phrases(make_finder(finder), captions), seed, source)


def choose_shards(seed: int, shards: Sequence[ShardStat]) -> list[ShardStat]:
    """Choose up to MAX_SHARDS shards by the smallest hash of seed and URL, at least one, up to MAX_BYTES in total."""
    order = heapq.nsmallest(MAX_SHARDS, shards, key=lambda stat: _hash(seed, bare_url(stat.url)))
    chosen: list[ShardStat] = []
    for stat in order:
        if not chosen or sum(one.size_bytes for one in chosen) + stat.size_bytes <= MAX_BYTES:
            chosen.append(stat)
    return chosen


def _read_captions(settings: InputSettings, seed: int, shards: Sequence[ShardStat]) -> tuple[list[str], int]:
    """Read up to MAX_CAPTIONS captions, equally many per shard; also return how many shards could be read."""
    captions: list[str] = []
    read = 0
    for stat in shards:
        try:
            best = heapq.nsmallest(MAX_CAPTIONS // len(shards), _read_shard(settings, seed, stat))
        except ShardDamagedError as damage:  # labeling reports it, with its unit
            log.info("no captions for the pool of decoys from %s: %s", stat.url, damage.code)
            continue
        read += 1
        captions += [caption for _, caption in best]
    return captions, read


def _read_shard(settings: InputSettings, seed: int, stat: ShardStat) -> Iterator[tuple[bytes, str]]:
    """Yield a shard's captions with the hash of their position. Rejected samples are skipped."""
    source, url = make_source(settings), bare_url(stat.url)
    shard = source.fetch(stat).open()
    for raw in shard.samples(0, len(shard)):
        if raw.rejected is None:
            yield _hash(seed, f"{raw.index}\n{url}"), raw.caption
    source.confirm(stat)


def _find_phrases(finder: PhraseFinder, captions: Sequence[str]) -> Iterator[FoundPhrases]:
    for first in range(0, len(captions), _BATCH_SIZE):
        for found in find_phrases(finder, captions[first : first + _BATCH_SIZE]):
            if not isinstance(found, SampleRejectedError):
                yield found


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()
