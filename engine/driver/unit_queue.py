"""Units still to be handed out, made one at a time: a queue of shards and a place in the first of them.

Promise: a unit of a queued shard is handed out once, in order, unless it is committed by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from engine.ledger.plan import JobPlan
from schemas.ledger import Unit

IsDone = Callable[[str, int], bool]


class UnitQueue:
    """The units of shards that were cut. `is_done(shard, place)` tells those that are committed."""

    def __init__(self, plan: JobPlan, is_done: IsDone) -> None:
        self._plan, self._is_done = plan, is_done
        self._shards: deque[str] = deque()
        self._place = 0
        self.left = 0
        """Units of queued shards not looked at yet, committed ones among them."""

    def add(self, shard: str) -> None:
        """Queue the units of a shard that was cut just now."""
        self._shards.append(shard)
        self.left += self._plan.count_units(shard)

    def next_unit(self) -> Unit | None:
        """The next unit, None when there is none."""
        while self._shards:
            shard, place = self._shards[0], self._place
            if place >= self._plan.count_units(shard):
                self._shards.popleft()
                self._place = 0
                continue
            self._place += 1
            self.left -= 1
            if not self._is_done(shard, place):
                return self._plan.unit_at(shard, place)
        return None

    def waiting(self) -> Iterator[Unit]:
        """What `next_unit` would give, in order, without taking it."""
        place = self._place
        for shard in self._shards:
            for at in range(place, self._plan.count_units(shard)):
                if not self._is_done(shard, at):
                    yield self._plan.unit_at(shard, at)
            place = 0
