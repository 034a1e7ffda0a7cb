"""The shards that a worker has open, narrowed to the samples that the job selects."""

from __future__ import annotations

from engine.ledger.shard_facts import index_shard
from engine.reading.key_selection import SelectedShard, Selection, parse_selection, selection_path
from engine.reading.shard_cache import ShardCache, ShardStat
from engine.reading.shard_sources import make_source
from engine.reading.shards import Shard
from engine.settings import InputSettings
from engine.storage.store import Store
from schemas.ledger import ShardFacts

_MAX_OPEN = 2  # of the unit with the teacher, and of the next


class OpenShards:
    """Fetches shards into the shard cache and keeps the last two open."""

    def __init__(self, settings: InputSettings, store: Store, cache: ShardCache | None = None) -> None:
        self._settings, self._store, self._source = settings, store, make_source(settings, cache)
        self._open: dict[ShardStat, Shard] = {}
        self._selection: Selection | None = None

    def index(self, stat: ShardStat) -> ShardFacts:
        """Read a shard to its end and return its facts. Raise ShardDamagedError."""
        return index_shard(stat, self._source)

    def open(self, stat: ShardStat) -> Shard:
        """Fetch and open a shard. Raise ShardDamagedError if it is damaged or its version has changed."""
        fetched = self._source.fetch(stat)
        if stat not in self._open:
            while len(self._open) >= _MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[stat] = self._select(stat, fetched.open())
        return self._open[stat]

    def confirm(self, stat: ShardStat) -> None:
        """Raise ShardDamagedError INPUT_CHANGED if a shard that is read in place was replaced since it was opened."""
        self._source.confirm(stat)

    def _select(self, stat: ShardStat, shard: Shard) -> Shard:
        """Return the shard, narrowed to the keys of the job's selection (`input.only`, a digest) if there is one."""
        digest = self._settings.only
        if digest is None:
            return shard
        if self._selection is None:
            path = selection_path(digest)
            where = f"{self._store.url}/{path}"
            self._selection = parse_selection(self._store.read(path), digest, where)
        return SelectedShard(shard, self._selection.keys_of(stat.url))
