"""What a job asks for: its shards, and the units of those shards that were read.

A shard that was not read yet counts as one planned unit. Promise: the plan alone decides which commits belong to the
job, by unit and fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from engine.ledger.fingerprint import Method, parts_of
from engine.ledger.units import cut_units
from engine.reading.selection import Selection
from schemas.ledger import FingerprintParts, ShardFacts, SnapshotEntry, Unit


class JobPlan:
    """The shards of a job in order, with the units of those that were read."""

    def __init__(
        self,
        job_digest: str,
        method: Method,
        unit_samples: int,
        shards: Iterable[str],
        selection: Selection | None = None,
    ) -> None:
        self.job_digest = job_digest
        self.method = method
        self.selection = selection
        self.unit_samples = unit_samples
        self.shards = tuple(shards)
        self._known = frozenset(self.shards)
        self._units: dict[str, dict[str, Unit]] = {}
        self._given_up: set[str] = set()
        self._fingerprints: dict[Unit, str] = {}

    def cut(self, facts: ShardFacts, samples_left: int | None = None) -> list[Unit]:
        """Cut a shard that was read, to no more than `samples_left` samples; its units."""
        if samples_left is not None and samples_left < facts.samples:
            facts = facts.model_copy(update={"samples": samples_left})
        self._units[facts.url] = {unit.name: unit for unit in cut_units(facts, self.unit_samples)}
        return list(self._units[facts.url].values())

    def leave_out(self, url: str) -> None:
        """Plan no unit of a shard (the sample limit was reached before it)."""
        self._units[url] = {}

    def give_up(self, url: str) -> None:
        """A shard that cannot be read in its present version: one planned unit, and no earlier commit counts."""
        self._given_up.add(url)

    def parts(self, unit: Unit) -> FingerprintParts:
        """The parts of a unit's fingerprint under this job."""
        chosen = self.selection.digest_of(unit.shard) if self.selection else None
        return parts_of(unit, self.method, chosen)

    def fingerprint(self, unit: Unit) -> str:
        """The fingerprint that a unit's commit must have."""
        if unit not in self._fingerprints:
            self._fingerprints[unit] = self.parts(unit).fingerprint()
        return self._fingerprints[unit]

    def units(self) -> Iterator[Unit]:
        """Units of the shards that were read, in plan order."""
        for url in self.shards:
            yield from self.units_of(url)

    def units_of(self, url: str) -> list[Unit]:
        """Units of one shard in order; none while it was not read."""
        return list(self._units.get(url, {}).values())

    def is_cut(self, url: str) -> bool:
        """Whether the shard was read and cut."""
        return url in self._units

    def admits(self, entry: SnapshotEntry) -> bool:
        """Whether a commit belongs to this job: of a planned unit, under the asked fingerprint."""
        if entry.shard not in self._units:
            return entry.shard in self._known and entry.shard not in self._given_up
        unit = self._units[entry.shard].get(entry.unit)
        return unit is not None and self.fingerprint(unit) == entry.fingerprint

    def planned(self, entries: Iterable[SnapshotEntry]) -> int:
        """Units planned, given those committed: a shard not read yet counts as one, or as its commits."""
        committed = Counter(entry.shard for entry in entries)
        return sum(
            len(self._units[url]) if url in self._units else max(1, committed[url]) for url in self.shards
        )
