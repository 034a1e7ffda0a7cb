"""What a job asks for: its shards, and the units of those shards that were read.

A shard that was not read yet counts as one planned unit. Promise: the plan alone decides which commits belong to the
job, by unit and fingerprint. It holds a few numbers a shard and nothing a unit; units are made when they are asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from engine.ledger.fingerprint import Fingerprints, MethodDigests, build_parts
from engine.reading.key_selection import Selection
from schemas.ledger import EXACT_KEYS, FingerprintParts, ShardFacts, SnapshotEntry, Unit, unit_name

_NONE = (-1, "")  # a shard of which no unit is planned
_INDEX_AT = 17  # where the first sample's index stands in a unit's name


class JobPlan:
    """The shards of a job in order, and the facts of those that were read. A shard is cut once."""

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
        self.units_cut = 0  # units of the shards that were read
        self.samples_cut = 0
        self._cuts: dict[str, tuple[int, str] | None] = dict.fromkeys(self.shards)  # samples, sha256
        self._uncut = len(self._cuts)
        self._exact_keys: set[str] = set()  # shards whose keys earlier versions read wrongly
        self._given_up: set[str] = set()
        self._fingerprints = Fingerprints(method)

    def cut(self, facts: ShardFacts, samples_left: int | None = None) -> int:
        """Cut a shard that was read, to no more than `samples_left` samples; how many units it has."""
        samples = facts.samples if samples_left is None else min(facts.samples, samples_left)
        if facts.keys == EXACT_KEYS:
            self._exact_keys.add(facts.url)
        else:
            self._exact_keys.discard(facts.url)
        return self._set_cut(facts.url, (samples, facts.sha256))

    def leave_out(self, url: str) -> None:
        """Plan no unit of a shard (the sample limit was reached before it)."""
        self._set_cut(url, _NONE)

    def give_up(self, url: str) -> None:
        """A shard that cannot be read in its present version: one planned unit, and no earlier commit counts."""
        self._given_up.add(url)

    def parts(self, unit: Unit) -> FingerprintParts:
        """The parts of a unit's fingerprint under this job."""
        return build_parts(unit, self.method, self._chosen(unit.shard), self._keys(unit.shard))

    def fingerprint(self, unit: Unit) -> str:
        """The fingerprint that a unit's commit must have."""
        return self._fingerprint(unit.shard, unit.input_digest, unit.first, unit.count)

    def units(self) -> Iterator[Unit]:
        """Units of the shards that were read, in plan order."""
        for url in self.shards:
            yield from self.units_of(url)

    def units_of(self, url: str) -> Iterator[Unit]:
        """Units of one shard in order; none while it was not read."""
        return (self.unit_at(url, place) for place in range(self.units_in(url)))

    def units_in(self, url: str) -> int:
        """How many units a shard was cut into; 0 while it was not read. An empty shard is one empty unit."""
        samples = (self._cuts[url] or _NONE)[0]
        return 0 if samples < 0 else max(1, -(-samples // self.unit_samples))

    def unit_at(self, url: str, place: int) -> Unit:
        """A shard's unit by its place in the shard, from 0."""
        samples, sha256 = self._cuts[url] or _NONE
        first = place * self.unit_samples
        count = min(self.unit_samples, samples - first)
        return Unit(
            name=unit_name(url, first), shard=url, input_digest="sha256:" + sha256, first=first, count=count
        )

    def place_of(self, url: str, unit: str) -> int | None:
        """The place of a unit, by name, in a shard that was cut; None when the shard has no such unit."""
        if unit[: _INDEX_AT - 1] != _shard_name(url) or not unit[_INDEX_AT:].isdigit():
            return None
        place, off = divmod(int(unit[_INDEX_AT:]), self.unit_samples)
        return place if not off and place < self.units_in(url) else None

    def is_cut(self, url: str) -> bool:
        """Whether the shard was read and cut."""
        return self._cuts.get(url) is not None

    def admits(self, entry: SnapshotEntry) -> bool:
        """Whether a commit belongs to this job: of a planned unit, under the asked fingerprint."""
        return self.admits_named(entry.shard, entry.unit, entry.fingerprint)

    def admits_named(self, shard: str, unit: str, fingerprint: str) -> bool:
        """As `admits`. Any commit of a shard that is still to be read is admitted until it is."""
        cut = self._cuts.get(shard)
        if cut is None:
            return shard in self._cuts and shard not in self._given_up
        place = self.place_of(shard, unit)
        if place is None:
            return False
        samples, sha256 = cut
        first = place * self.unit_samples
        count = min(self.unit_samples, samples - first)
        return self._fingerprint(shard, "sha256:" + sha256, first, count) == fingerprint

    def planned(self, listed_uncut: Iterable[int]) -> int:
        """Units planned: those of shards that were read, and of each other shard its commits, at least one.

        listed_uncut: how many commits each shard has that was not read yet; shards without commits may be left out
        """
        return self.units_cut + self._uncut + sum(max(count - 1, 0) for count in listed_uncut)

    def _fingerprint(self, shard: str, input_digest: str, first: int, count: int) -> str:
        return self._fingerprints.of(input_digest, first, count, self._chosen(shard), self._keys(shard))

    def _keys(self, url: str) -> str | None:
        return EXACT_KEYS if url in self._exact_keys else None

    def _chosen(self, url: str) -> str | None:
        """Digest of the keys asked for in a shard, None where all are."""
        return self.selection.digest_of(url) if self.selection else None

    def _set_cut(self, url: str, cut: tuple[int, str]) -> int:
        before = self._cuts[url]
        if before is None:
            self._uncut -= 1
        else:
            self.units_cut -= self.units_in(url)
            self.samples_cut -= max(before[0], 0)
        self._cuts[url] = cut
        units = self.units_in(url)
        self.units_cut += units
        self.samples_cut += max(cut[0], 0)
        return units


@functools.lru_cache(maxsize=4096)
def _shard_name(url: str) -> str:
    """The part of its units' names that is the shard's."""
    return unit_name(url, 0)[: _INDEX_AT - 1]
