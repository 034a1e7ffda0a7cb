"""A labelling run on the driver: which tasks are left, what came of them, when to publish.

Promise: a unit that is committed under the asked fingerprint is not handed out again, and everything that is not
committed in the end is listed as failed or pending.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from engine.ledger.commits import entry_of, read_commit
from engine.ledger.plan import JobPlan
from engine.ledger.snapshots import latest_snapshot, publish
from engine.ledger.units import known_facts
from engine.reading.spool import ShardStat
from engine.settings import InputSettings
from engine.storage import Store
from engine.work.tasks import Outcome, Task
from schemas.errors import EnvironmentProblem, NotFound
from schemas.ledger import CommitRecord, FailedUnit, ShardFacts, Snapshot, SnapshotEntry, Unit, unit_name

PUBLISH_EVERY_S = 15.0
LOOKUPS_AT_ONCE = 16
T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[str, int, int], None]


class Labelling:
    """The state of one run. `next_task` and `settle` are what `dispatch.drive` asks for."""

    def __init__(
        self,
        store: Store,
        plan: JobPlan,
        settings: InputSettings,
        progress: Progress | None = None,
        limit: int | None = None,
    ) -> None:
        self.store, self.plan = store, plan
        self.entries: dict[str, SnapshotEntry] = {}
        self.failed: dict[str, FailedUnit] = {}
        self._settings, self._progress = settings, progress
        self._stats: dict[str, ShardStat] = {}
        self._unread: deque[str] = deque(plan.shards)
        self._units: deque[Unit] = deque()
        self._put_back: deque[Task] = deque()  # begun often by earlier runs: the others go first
        self._limit = limit
        self._unconfirmed: dict[
            str, list[str]
        ] = {}  # commits of shards that were not read in this version yet
        self._reading = 0
        self._published_at = time.monotonic()
        self._publishing_took_s = 0.0

    def begin(self, stats: Iterable[ShardStat], missing: Iterable[FailedUnit]) -> None:
        """Take what a look at the shards told, what earlier runs recorded, and what they committed."""
        self._stats = {stat.url: stat for stat in stats}
        for failed in missing:
            self._give_up(failed)
            self._unread.remove(failed.shard)
        if self._limit is None:
            self._use_known_facts()

    def committed_before(self) -> int:
        """Mark units done that the newest snapshot or a commit record shows as done; how many."""
        try:
            newest = latest_snapshot(self.store)
        except NotFound:
            return 0  # a run publishes before it hands out work; a worker looks once more for itself
        self.entries = {entry.unit: entry for entry in newest.entries if self.plan.admits(entry)}
        unlisted = [unit for unit in self._units if unit.name not in self.entries]
        for record in in_parallel(self._commit_of, unlisted):
            if record is not None:
                self.entries[record.unit.name] = entry_of(record)
        self._units = deque(unit for unit in self._units if unit.name not in self.entries)
        for entry in self.entries.values():
            if not self.plan.is_cut(entry.shard):
                self._unconfirmed.setdefault(entry.shard, []).append(entry.unit)
        return len(self.entries)

    def next_is_due(self) -> bool:
        """Whether there is anything to hand out."""
        return bool(self._units or self._unread)

    def todo(self) -> list[Unit]:
        """Units that are cut and not committed, in plan order."""
        return list(self._units)

    def next_task(self) -> Task | None:
        """Units first, then the next unread shard; with a limit, one shard at a time and only while needed."""
        if self._units:
            unit = self._units.popleft()
            return Task(shard=self._stats[unit.shard], unit=unit, parts=self.plan.parts(unit))
        if self._limit is not None and (self._reading or self._samples_left() == 0):
            return None
        if not self._unread:
            return self._put_back.popleft() if self._put_back and not self._reading else None
        self._reading += 1
        return Task(shard=self._stats[self._unread.popleft()])

    def settle(self, outcome: Outcome) -> None:
        """Take a final outcome."""
        if outcome.task.unit is None:
            self._reading -= 1
        if outcome.put_back:
            self._put_back.append(outcome.task.model_copy(update={"waited": True}))
        elif outcome.facts is not None:
            self._cut(outcome.facts)
        elif outcome.entry is not None:
            self._check_arrived(outcome.entry)
            self.entries[outcome.entry.unit] = outcome.entry
        elif outcome.failure is not None:
            failure, shard = outcome.failure, outcome.task.shard.url
            failed = FailedUnit(
                unit=outcome.task.name, shard=shard, code=failure.code, detail=failure.detail[:500]
            )
            if outcome.task.unit is None:
                self._give_up(failed)
            else:
                self.failed[failed.unit] = failed
        self._report()
        since = time.monotonic() - self._published_at
        if since > max(PUBLISH_EVERY_S, 20 * self._publishing_took_s):
            self.publish()

    def publish(self) -> Snapshot:
        """Publish what is committed by now."""
        begun = time.monotonic()
        snapshot = publish(self.store, self.plan, self.entries.values(), self.failed.values())
        self._published_at = time.monotonic()
        self._publishing_took_s = self._published_at - begun
        return snapshot

    def leave_out_unread(self) -> None:
        """With a limit reached, the shards not needed are no part of the plan."""
        for url in self._unread:
            self.plan.leave_out(url)
        self._unread.clear()

    def _check_arrived(self, entry: SnapshotEntry) -> None:
        if self.store.is_local and not self.store.exists(entry.evidence.path):
            raise EnvironmentProblem(
                f"{entry.unit} was committed, but {self.store.url}/{entry.evidence.path} is not on this machine: a "
                "worker on another node wrote to its own disk; with several nodes, output.url and input.urls must be "
                "object stores or folders that all of them share"
            )

    def _commit_of(self, unit: Unit) -> CommitRecord | None:
        return read_commit(self.store, unit.name, self.plan.fingerprint(unit))

    def _use_known_facts(self) -> None:
        still_unread: deque[str] = deque()
        known = in_parallel(
            lambda url: known_facts(self.store, self._stats[url], self._settings), self._unread
        )
        for url, facts in zip(self._unread, known, strict=True):
            if facts is None:
                still_unread.append(url)
            else:
                self._cut(facts)
        self._unread = still_unread

    def _cut(self, facts: ShardFacts) -> None:
        units = self.plan.cut(facts, self._samples_left())
        for name in self._unconfirmed.pop(facts.url, []):
            if not self.plan.admits(self.entries[name]):  # of the shard's earlier bytes
                del self.entries[name]
        self._units.extend(unit for unit in units if unit.name not in self.entries)

    def _samples_left(self) -> int | None:
        if self._limit is None:
            return None
        return max(self._limit - sum(unit.count for unit in self.plan.units()), 0)

    def _give_up(self, failed: FailedUnit) -> None:
        self.failed[failed.unit] = failed
        self.plan.give_up(failed.shard)
        for name in self._unconfirmed.pop(failed.shard, []):
            del self.entries[name]

    def _report(self) -> None:
        if self._progress is not None:
            planned = self.plan.planned(self.entries.values())
            self._progress("units", len(self.entries) + len(self.failed), planned)


def missing_shard(url: str, code: str, detail: str) -> FailedUnit:
    """A shard that could not even be looked at."""
    return FailedUnit(unit=unit_name(url, 0), shard=url, code=code, detail=detail)


def in_parallel(look: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The look-ups' results in order; each is a short wait for a store, so threads serve."""
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as threads:
        return list(threads.map(look, items))
