"""Which units of a plan stand in a snapshot: one bit a unit.

Promise: a unit is counted once, and one whose shard was not read yet is counted only until the shard shows another
version of itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.ledger.plan import JobPlan
from schemas.errors import ConflictError


class CommittedUnits:
    """The committed units of a plan that a snapshot names."""

    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan
        self._bits: dict[str, int] = {}  # by shard, the unit's place as bit
        self._unread: dict[str, dict[str, str]] = {}  # by shard that was not read yet: unit -> fingerprint
        self.count = 0
        self.is_stale = False  # a unit was taken that turned out not to belong to the plan

    def add_if_planned(self, shard: str, unit: str, fingerprint: str) -> bool:
        """Note a unit that a snapshot names. False, and nothing noted, when it does not belong to the plan.

        raises: ConflictError when the unit was noted before
        """
        if not self._plan.admits_named(shard, unit, fingerprint):
            return False
        if self.has(shard, unit):
            raise ConflictError(f"a snapshot names {unit} of {shard} twice")
        self.add(shard, unit, fingerprint)
        return True

    def has(self, shard: str, unit: str) -> bool:
        """Whether the unit was noted."""
        if not self._plan.is_cut(shard):
            return unit in self._unread.get(shard, ())
        place = self._plan.place_of(shard, unit)
        return place is not None and self.has_place(shard, place)

    def has_place(self, shard: str, place: int) -> bool:
        """Whether the unit at a place of a shard that was cut was noted."""
        return bool(self._bits.get(shard, 0) >> place & 1)

    def is_complete(self, shard: str) -> bool:
        """Whether all units of a shard that was cut were noted."""
        return self._bits.get(shard, 0) == (1 << self._plan.units_in(shard)) - 1

    def recheck(self, shard: str) -> None:
        """The shard was cut or given up: judge again what was noted of it before."""
        for unit, fingerprint in self._unread.pop(shard, {}).items():
            self.count -= 1
            if self._plan.is_cut(shard) and self._plan.admits_named(shard, unit, fingerprint):
                self.add(shard, unit, fingerprint)
            else:
                self.is_stale = True

    def planned(self) -> int:
        """Units planned, a shard that was not read yet counting as its commits, at least one."""
        return self._plan.planned(len(units) for units in self._unread.values())

    def unread(self) -> Iterator[tuple[str, str, str]]:
        """(shard, unit, fingerprint) of what was noted of shards that were not read yet."""
        for shard, units in self._unread.items():
            yield from ((shard, unit, fingerprint) for unit, fingerprint in units.items())

    def add(self, shard: str, unit: str, fingerprint: str) -> None:
        """As `take`, of a unit that is known to belong to the plan and to be new."""
        self.count += 1
        if self._plan.is_cut(shard):
            place = self._plan.place_of(shard, unit)
            assert place is not None, "only units of the plan are noted"
            self._bits[shard] = self._bits.get(shard, 0) | 1 << place
        else:
            self._unread.setdefault(shard, {})[unit] = fingerprint
