"""The plan of a job: its shards, and the units of the shards that were read.

A shard that was not read yet counts as one planned unit. The plan alone decides which commits belong to the job, by
unit and fingerprint. It stores a few numbers for each shard and nothing for each unit: units are built on request.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from engine.ledger.fingerprint import Fingerprints, MethodDigests, build_parts
from engine.reading.key_selection import Selection
from schemas.ledger import EXACT_KEYS, FingerprintParts, ShardFacts, SnapshotEntry, Unit, unit_name

_NONE = (-1, "")  # a shard without a planned unit
_INDEX_AT = 17  # offset of the first sample's index in a unit's name


class JobPlan:
    """The shards of a job in order, and how the shards that were read are split into units."""

    def __init__(
        self,
        job_digest: str,
        method: MethodDigests,
        unit_samples: int,
        shards: Iterable[str],
        selection: Selection | None = None,
    ) -> None:
        self.job_digest = job_digest
        self.method = method
        self.selection = selection
        self.unit_samples = unit_samples
        self.shards = tuple(dict.fromkeys(shards))
        self.known_units = 0  # of the shards that were read
        self.known_samples = 0
        self._splits: dict[str, tuple[int, str] | None] = dict.fromkeys(self.shards)  # samples, sha256
        self._unread = len(self._splits)
        self._exact_keys: set[str] = set()  # shards whose keys earlier versions read wrongly
        self._unreadable: set[str] = set()
        self._fingerprints = Fingerprints(method)

    def split_shard(self, facts: ShardFacts, samples_left: int | None = None) -> int:
        """Split a shard that was read into units, up to `samples_left` samples. Return the number of units."""
        samples = facts.samples if samples_left is None else min(facts.samples, samples_left)
        if facts.keys == EXACT_KEYS:
            self._exact_keys.add(facts.url)
        else:
            self._exact_keys.discard(facts.url)
        return self._set_split(facts.url, (samples, facts.sha256))

    def exclude_shard(self, url: str) -> None:
        """Plan no unit of a shard, because the sample limit was reached before it."""
        self._set_split(url, _NONE)

    def mark_unreadable(self, url: str) -> None:
        """Mark a shard whose current version cannot be read: it has one planned unit, and no earlier commit counts."""
        self._unreadable.add(url)

    def parts(self, unit: Unit) -> FingerprintParts:
        """Return the parts of a unit's fingerprint under this job."""
        return build_parts(unit, self.method, self._selection_digest(unit.shard), self._key_form(unit.shard))

    def fingerprint(self, unit: Unit) -> str:
        """Return the fingerprint that a unit's commit must have."""
        return self._fingerprint(unit.shard, unit.input_digest, unit.first, unit.count)

    def units_of(self, url: str) -> Iterator[Unit]:
        """Yield the units of one shard in order; none before it was read."""
        return (self.unit_at(url, place) for place in range(self.count_units(url)))

    def count_units(self, url: str) -> int:
        """Return the number of a shard's units; 0 before it was read. An empty shard has one empty unit."""
        samples = (self._splits[url] or _NONE)[0]
        return 0 if samples < 0 else max(1, -(-samples // self.unit_samples))

    def unit_at(self, url: str, place: int) -> Unit:
        """Return a shard's unit by its place in the shard, from 0."""
        samples, sha256 = self._splits[url] or _NONE
        first = place * self.unit_samples
        count = min(self.unit_samples, samples - first)
        return Unit(
            name=unit_name(url, first), shard=url, input_digest="sha256:" + sha256, first=first, count=count
        )

    def find_place(self, url: str, unit: str) -> int | None:
        """Return the place of a unit, given by its name, in a shard; None if the shard has no such unit."""
        if unit[: _INDEX_AT - 1] != _shard_name(url) or not unit[_INDEX_AT:].isdigit():
            return None
        place, off = divmod(int(unit[_INDEX_AT:]), self.unit_samples)
        return place if not off and place < self.count_units(url) else None

    def is_split(self, url: str) -> bool:
        """Return whether the shard was read and split into units."""
        return self._splits.get(url) is not None

    def admits(self, entry: SnapshotEntry) -> bool:
        """Return whether a commit belongs to this job: it has a planned unit and the expected fingerprint."""
        return self.admits_unit(entry.shard, entry.unit, entry.fingerprint)

    def admits_unit(self, shard: str, unit: str, fingerprint: str) -> bool:
        """Decide as `admits` does. Before a shard was read, all its commits are admitted."""
        split = self._splits.get(shard)
        if split is None:
            return shard in self._splits and shard not in self._unreadable
        place = self.find_place(shard, unit)
        if place is None:
            return False
        samples, sha256 = split
        first = place * self.unit_samples
        count = min(self.unit_samples, samples - first)
        return self._fingerprint(shard, "sha256:" + sha256, first, count) == fingerprint

    def count_planned(self, unread_commits: Iterable[int]) -> int:
        """Count the planned units: of an unread shard, the number of its commits, but at least one.

        unread_commits: the number of commits of each unread shard; shards without commits may be left out
        """
        return self.known_units + self._unread + sum(max(count - 1, 0) for count in unread_commits)

    def _fingerprint(self, shard: str, input_digest: str, first: int, count: int) -> str:
        return self._fingerprints.of(
            input_digest, first, count, self._selection_digest(shard), self._key_form(shard)
        )

    def _key_form(self, url: str) -> str | None:
        return EXACT_KEYS if url in self._exact_keys else None

    def _selection_digest(self, url: str) -> str | None:
        """Return the digest of a shard's selected keys; None if all are selected."""
        return self.selection.digest_of(url) if self.selection else None

    def _set_split(self, url: str, split: tuple[int, str]) -> int:
        before = self._splits[url]
        if before is None:
            self._unread -= 1
        else:
            self.known_units -= self.count_units(url)
            self.known_samples -= max(before[0], 0)
        self._splits[url] = split
        units = self.count_units(url)
        self.known_units += units
        self.known_samples += max(split[0], 0)
        return units


@functools.lru_cache(maxsize=4096)
def _shard_name(url: str) -> str:
    """Return the part of its units' names that identifies the shard."""
    return unit_name(url, 0)[: _INDEX_AT - 1]
