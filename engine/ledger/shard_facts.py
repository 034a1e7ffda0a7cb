"""Facts about a version of a shard, found once and recorded.

A shard is read to its end before any of its units is planned.
"""

from __future__ import annotations

import hashlib
import logging
from typing import NamedTuple

from engine.ledger.commits import put_record
from engine.ledger.records import parse_record
from engine.reading.formats.parquet import ParquetTable
from engine.reading.shard_cache import ShardCache, ShardStat, check_unchanged
from engine.reading.shards import READER_VERSION, ParquetShard, open_shard
from engine.settings import InputSettings
from engine.storage.filesystems import open_filesystem, translate_store_errors
from engine.storage.store import Store
from schemas.digests import file_sha256
from schemas.errors import GroundswellError, NotFoundError
from schemas.ledger import KeyForm, ShardFacts, unit_name

log = logging.getLogger(__name__)


class KnownFacts(NamedTuple):
    """Facts of the current version of a shard, and whether they are recorded in this form."""

    facts: ShardFacts
    is_recorded: bool


def index_shard(stat: ShardStat, settings: InputSettings, shard_cache: ShardCache) -> ShardFacts:
    """Fetch a shard, check it to its end and count its samples. Raises ShardDamagedError."""
    path = shard_cache.fetch(stat, settings.storage)
    shard = open_shard(path, stat.url, settings.reading())
    keys = shard.key_form() if isinstance(shard, ParquetShard) else None
    sha256 = file_sha256(path)
    shard_cache.check_in_place(stat)
    return ShardFacts(
        url=stat.url,
        size_bytes=stat.size_bytes,
        version=stat.version,
        sha256=sha256,
        samples=len(shard),
        keys=keys,
    )


def facts_path(stat: ShardStat, settings: InputSettings) -> str:
    """Return the path of the facts of a shard version; another reader version has another path."""
    return _path(stat, settings, "\nkeys" if settings.format == "parquet" else "")


def load_facts(store: Store, stat: ShardStat, settings: InputSettings) -> KnownFacts | None:
    """Return what an earlier run recorded for exactly this version; None if the shard must be read.

    Earlier versions of Groundswell did not record how the keys of a Parquet shard are read. Such a shard is opened
    again, for its schema and its keys alone.
    """
    facts = _read_facts(store, facts_path(stat, settings))
    if facts is not None:
        return KnownFacts(facts, True)
    if settings.format != "parquet":
        return None
    facts = _read_facts(store, _path(stat, settings))
    keys = None if facts is None else _read_key_form(stat, settings)
    return KnownFacts(facts.model_copy(update={"keys": keys}), False) if facts is not None and keys else None


def record_facts(store: Store, stat: ShardStat, settings: InputSettings, facts: ShardFacts) -> None:
    """Record a shard's facts for later runs."""
    put_record(store, facts_path(stat, settings), facts)


def _read_key_form(stat: ShardStat, settings: InputSettings) -> KeyForm | None:
    """Read the footer and the keys of a shard in place; return None on an error, which a worker then reports."""
    filesystem, path = open_filesystem(stat.url, settings.storage)
    try:
        with translate_store_errors(stat.url), filesystem.open(path, "rb", cache_type="none") as file:
            keys = ParquetTable(file, stat.url, settings.reading()).key_form()
        check_unchanged(stat, settings.storage)
    except (GroundswellError, OSError) as error:
        log.info("the keys of %s could not be read in place, so the shard is read again: %s", stat.url, error)
        return None
    return keys


def _path(stat: ShardStat, settings: InputSettings, suffix: str = "") -> str:
    identity = f"{settings.format}\n{READER_VERSION}\n{stat.version}\n{stat.size_bytes}{suffix}"
    return f"shards/{unit_name(stat.url, 0)[:16]}/{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"


def _read_facts(store: Store, path: str) -> ShardFacts | None:
    try:
        data = store.read(path)
    except NotFoundError:
        return None
    remedy = "move it away and run the job again, which reads the shard once more"
    return parse_record(ShardFacts, data, f"{store.url}/{path}", "the facts of a shard", remedy)
