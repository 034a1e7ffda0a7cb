"""Shards become facts: what a shard's version holds, found once and kept.

Promise: a shard is read to its end before anything of it is planned.
"""

from __future__ import annotations

import hashlib

from engine.ledger.commits import put_record
from engine.ledger.records import record_from
from engine.reading.shards import READER_VERSION, open_shard
from engine.reading.spool import ShardStat, Spool, sha256_of_file
from engine.settings import InputSettings
from engine.storage import Store
from schemas.errors import NotFound
from schemas.ledger import ShardFacts, unit_name


def index_shard(stat: ShardStat, settings: InputSettings, spool: Spool) -> ShardFacts:
    """Fetch a shard, check it to its end, count its samples. Raises ShardDamaged."""
    path = spool.fetch(stat, settings.storage)
    samples = len(open_shard(path, stat.url, settings.reading()))
    sha256 = sha256_of_file(path)
    spool.confirm(stat)
    return ShardFacts(
        url=stat.url,
        size_bytes=stat.size_bytes,
        version=stat.version,
        sha256=sha256,
        samples=samples,
    )


def facts_path(stat: ShardStat, settings: InputSettings) -> str:
    """Where the facts of that shard version are kept; another reader counts anew."""
    seen = f"{settings.format}\n{READER_VERSION}\n{stat.version}\n{stat.size_bytes}"
    return f"shards/{unit_name(stat.url, 0)[:16]}/{hashlib.sha256(seen.encode()).hexdigest()[:16]}.json"


def known_facts(store: Store, stat: ShardStat, settings: InputSettings) -> ShardFacts | None:
    """Facts that an earlier run recorded for exactly this version."""
    path = facts_path(stat, settings)
    try:
        data = store.read(path)
    except NotFound:
        return None
    remedy = "move it away and run the job again, which reads the shard once more"
    return record_from(ShardFacts, data, f"{store.url}/{path}", "what is known of a shard", remedy)


def record_facts(store: Store, stat: ShardStat, settings: InputSettings, facts: ShardFacts) -> None:
    """Keep a shard's facts for later runs."""
    put_record(store, facts_path(stat, settings), facts)
