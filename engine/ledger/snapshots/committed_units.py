"""The units of a plan that a snapshot lists: one bit for each unit.

A unit is counted once. A unit of a shard that was not read yet is counted until the shard turns out to have another
version.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.ledger.plan import JobPlan
from engine.ledger.snapshots.snapshots import MOVE_AWAY
from schemas.errors import ConflictError


class CommittedUnits:
    """The committed units of a plan that a snapshot lists."""

    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan
        self._bits: dict[str, int] = {}  # by shard, a bit for each unit's place
        self._unread: dict[str, dict[str, str]] = {}  # by shard that was not read yet: unit -> fingerprint
        self.count = 0
        self.is_stale = False  # a unit was added that turned out not to belong to the plan

    def add_if_planned(self, shard: str, unit: str, fingerprint: str) -> bool:
        """Add a unit that a snapshot lists. Return False and add nothing if it does not belong to the plan.

        raises: ConflictError if the unit was added before
        """
        if not self._plan.admits_unit(shard, unit, fingerprint):
            return False
        if self.has(shard, unit):
            raise ConflictError(f"a snapshot lists {unit} of {shard} twice; {MOVE_AWAY}")
        self.add(shard, unit, fingerprint)
        return True

    def has(self, shard: str, unit: str) -> bool:
        """Return whether the unit was added."""
        if not self._plan.is_split(shard):
            return unit in self._unread.get(shard, ())
        place = self._plan.find_place(shard, unit)
        return place is not None and self.has_place(shard, place)

    def has_place(self, shard: str, place: int) -> bool:
        """Return whether the unit at a place of a split shard was added."""
        return bool(self._bits.get(shard, 0) >> place & 1)

    def recheck(self, shard: str) -> None:
        """Check the units of a shard again after it was split or found unreadable."""
        for unit, fingerprint in self._unread.pop(shard, {}).items():
            self.count -= 1
            if self._plan.is_split(shard) and self._plan.admits_unit(shard, unit, fingerprint):
                self.add(shard, unit, fingerprint)
            else:
                self.is_stale = True

    def count_planned(self) -> int:
        """Count the planned units: of an unread shard, the number of its commits, but at least one."""
        return self._plan.count_planned(len(units) for units in self._unread.values())

    def unread(self) -> Iterator[tuple[str, str, str]]:
        """Yield (shard, unit, fingerprint) of the added units of unread shards."""
        for shard, units in self._unread.items():
            yield from ((shard, unit, fingerprint) for unit, fingerprint in units.items())

    def add(self, shard: str, unit: str, fingerprint: str) -> None:
        """Add a unit that is known to belong to the plan and to be new."""
        self.count += 1
        if self._plan.is_split(shard):
            place = self._plan.find_place(shard, unit)
            assert place is not None, "only units of the plan are added"
            self._bits[shard] = self._bits.get(shard, 0) | 1 << place
        else:
            self._unread.setdefault(shard, {})[unit] = fingerprint
