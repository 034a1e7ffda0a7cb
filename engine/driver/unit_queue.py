"""A queue of units that are not dispatched yet. It stores shards and a position, and makes units one at a time.

Each unit of a queued shard is returned once, in order, unless it is committed by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from engine.ledger.plan import JobPlan
from schemas.ledger import Unit

IsDone = Callable[[str, int], bool]


class UnitQueue:
    """The units of shards that were split. `is_done(shard, place)` returns whether a unit is committed."""

    def __init__(self, plan: JobPlan, is_done: IsDone) -> None:
        self._plan, self._is_done = plan, is_done
        self._shards: deque[str] = deque()
        self._place = 0
        self.num_unvisited = 0
        """Units of queued shards that `next_unit` did not reach yet, committed ones included."""

    def add(self, shard: str) -> None:
        """Queue the units of a shard that was just split."""
        self._shards.append(shard)
        self.num_unvisited += self._plan.count_units(shard)

    def next_unit(self) -> Unit | None:
        """Remove and return the next unit, or return None if there is none."""
        while self._shards:
            shard, place = self._shards[0], self._place
            if place >= self._plan.count_units(shard):
                self._shards.popleft()
                self._place = 0
                continue
            self._place += 1
            self.num_unvisited -= 1
            if not self._is_done(shard, place):
                return self._plan.unit_at(shard, place)
        return None

    def iterate(self) -> Iterator[Unit]:
        """Yield the units that `next_unit` would return, in order, without removing them."""
        first = self._place
        for shard in self._shards:
            for place in range(first, self._plan.count_units(shard)):
                if not self._is_done(shard, place):
                    yield self._plan.unit_at(shard, place)
            first = 0
