"""A labeling run on the driver: the tasks that remain, their outcomes, and when to publish.

A unit that is committed under the planned fingerprint is not dispatched again. At the end, everything that is not
committed is listed as failed or pending. Memory: one bit per unit and a few numbers per shard, and objects only for
unpublished commits and for failures.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from itertools import islice

from engine.driver.unit_queue import UnitQueue
from engine.ledger.commits import read_commit, to_snapshot_entry
from engine.ledger.epochs import Epoch, claim_epoch
from engine.ledger.plan import JobPlan
from engine.ledger.shard_facts import load_facts, record_facts
from engine.ledger.snapshots.publisher import Publisher
from engine.reading.shard_cache import ShardStat
from engine.settings import InputSettings
from engine.storage.store import Store
from engine.task import Deferral, Failure, Outcome, Task
from engine.threads import map_parallel
from schemas.codes import SHARD_CODES
from schemas.errors import RuntimeEnvironmentError
from schemas.ledger import CommitRecord, FailedUnit, ShardFacts, Snapshot, SnapshotEntry, Unit
from schemas.progress import ProgressCallback

PUBLISH_EVERY_S = 15.0
PAUSE_PER_PUBLISH = 20  # publishing may take at most 1/20 of the time
_FACTS_CHUNK = 1024
MAX_LOOKUPS = 10_000  # commits looked up one by one at the start; if there are more units, the workers look
MAX_DETAIL = 500  # characters of a failure that a snapshot stores


class LabelRun:
    """The state of one run of a labeling job. It is the `Work` that `dispatch.run_tasks` runs."""

    def __init__(
        self,
        store: Store,
        plan: JobPlan,
        settings: InputSettings,
        progress: ProgressCallback | None = None,
        limit: int | None = None,
    ) -> None:
        self.store, self.plan = store, plan
        self.failed: dict[str, FailedUnit] = {}
        self._settings, self._progress, self._limit = settings, progress, limit
        self._publisher = Publisher(store, plan, before_put=self.claim_epoch)
        self._unpublished: dict[str, SnapshotEntry] = {}
        self._queue = UnitQueue(plan, self._is_done)
        self._deferred: deque[Task] = deque()  # begun often by earlier runs, so the other units go first
        self._stats: dict[str, ShardStat] = {}
        self._unread: deque[str] = deque(plan.shards)
        self._retried: set[str] = set()  # failed in an earlier run and not settled yet in this one
        self._only: tuple[frozenset[str], frozenset[str]] | None = None  # units and shards, see keep_only
        self._unrecorded: list[ShardFacts] = []
        self._num_reading = 0
        self._epoch: Epoch | None = None
        self._published_at = time.monotonic()
        self._publishing_s = 0.0

    def begin(self, stats: Iterable[ShardStat], missing: Iterable[FailedUnit]) -> None:
        """Set the shards to work on, and split those whose facts an earlier run recorded.

        missing: shards that could not be looked at; they count as failed
        """
        self._stats = {stat.url: stat for stat in stats}
        gone: set[str] = set()
        for failed in missing:
            self._give_up(failed)
            gone.add(failed.shard)
        self._unread = deque(url for url in self._unread if url not in gone)
        if self._limit is None:
            self._use_known_facts()

    def record_facts(self) -> None:
        """Store the facts of shards that `begin` found and no earlier run recorded."""
        map_parallel(
            lambda facts: record_facts(self.store, self._stats[facts.url], self._settings, facts),
            self._unrecorded,
        )
        self._unrecorded.clear()

    def find_committed(self) -> int:
        """Mark units that the latest snapshot or a commit record shows as committed. Return how many there are."""
        if self._publisher.refresh() is None:
            return 0  # a run publishes before it dispatches, and each worker looks for a commit again
        unlisted = list(islice(self._queue.iterate(), MAX_LOOKUPS + 1))
        if len(unlisted) <= MAX_LOOKUPS:
            for record in map_parallel(self._read_commit, unlisted):
                if record is not None:
                    self._unpublished[record.unit.name] = to_snapshot_entry(record)
        return self.num_committed

    @property
    def num_committed(self) -> int:
        """Number of units known to be committed."""
        return self._publisher.committed.count + len(self._unpublished)

    @property
    def latest(self) -> Snapshot | None:
        """The latest snapshot that was loaded, or None."""
        return self._publisher.newest

    def has_next(self) -> bool:
        """Return whether a task remains."""
        return bool(self._unread) or next(self._queue.iterate(), None) is not None

    def list_pending(self) -> list[Unit]:
        """Return the units of split shards that are not committed, in plan order."""
        return list(self._queue.iterate())

    def claim_epoch(self) -> int:
        """Claim an epoch for this run unless it has one. Return its number."""
        if self._epoch is None:
            self._epoch = claim_epoch(self.store, "label", self.plan.job_digest)
        return self._epoch.number

    def count_planned(self) -> int:
        """Return the number of units planned so far. A shard that was not read yet counts as one."""
        return self._publisher.committed.count_planned()

    def count_done(self) -> int:
        """Return the number of units that are committed or failed."""
        return self.num_committed + len(self.failed) - len(self._retried)

    def count_unread(self) -> int:
        """Return the number of shards that must be read before their units are known."""
        return len(self._unread)

    def keep_only(self, failed: Iterable[FailedUnit]) -> int:
        """Restrict the run to what failed before, and return the number of tasks.

        A failed unit is one task. All units of a shard that failed as a whole are included.
        """
        fates = list(failed)
        names, named = {fate.unit for fate in fates}, {fate.shard for fate in fates}
        self._retried = names - self.failed.keys()
        self.failed = {fate.unit: fate for fate in fates} | self.failed  # until they are settled
        shards = {fate.shard for fate in fates if fate.code in SHARD_CODES}
        self._only = frozenset(names), frozenset(shards)
        self._unread = deque(url for url in self._unread if url in named)
        return sum(1 for _ in self._queue.iterate()) + len(self._unread)

    def next_task(self) -> Task | None:
        """Return the next unit, else the next unread shard. With a limit, shards are read one at a time, if needed."""
        if (unit := self._queue.next_unit()) is not None:
            return Task(shard=self._stats[unit.shard], unit=unit, parts=self.plan.parts(unit))
        if self._unread and self._may_read():
            self._num_reading += 1
            return Task(shard=self._stats[self._unread.popleft()])
        if self._deferred and not self._num_reading:
            return self._deferred.popleft()
        return None

    def count_remaining(self) -> int:
        """Return an upper bound on the tasks not yet dispatched."""
        return self._queue.num_unvisited + len(self._unread) + len(self._deferred)

    def settle(self, outcome: Outcome) -> None:
        """Accept a final outcome, and publish from time to time."""
        if outcome.task.unit is None:
            self._num_reading -= 1
        if outcome.is_deferred:
            self._deferred.append(outcome.task.model_copy(update={"deferral": Deferral.DONE}))
        elif outcome.facts is not None:
            self._cut(outcome.facts)
        elif outcome.entry is not None:
            self._add_commit(outcome.entry)
            self.failed.pop(outcome.entry.unit, None)
            self._retried.discard(outcome.entry.unit)
        elif outcome.failure is not None:
            self._add_failure(outcome.task, outcome.failure)
        self._report()
        since_publish_s = time.monotonic() - self._published_at
        if since_publish_s > max(PUBLISH_EVERY_S, PAUSE_PER_PUBLISH * self._publishing_s):
            self.publish()

    def publish(self) -> Snapshot:
        """Publish all commits so far. Raise ConflictError if a run of another job has taken over the output."""
        began = time.monotonic()
        if self._epoch is not None:
            self._epoch.check_no_rival()
        snapshot = self._publisher.publish(self._unpublished, self.failed.values())
        self._unpublished.clear()
        self._published_at = time.monotonic()
        self._publishing_s = self._published_at - began
        return snapshot

    def drop_unread(self) -> None:
        """Remove the unread shards from the plan: the limit was reached without them."""
        for url in self._unread:
            self.plan.exclude_shard(url)
            self._publisher.committed.recheck(url)
        self._unread.clear()

    def _is_done(self, shard: str, place: int) -> bool:
        if self._publisher.committed.has_place(shard, place):
            return True
        if not self._unpublished and self._only is None:
            return False
        name = self.plan.unit_at(shard, place).name
        return name in self._unpublished or not self._is_kept(shard, name)

    def _is_kept(self, shard: str, unit: str) -> bool:
        """Return whether `keep_only` kept the unit. Of a shard that failed as a whole, all units are kept."""
        if self._only is None:
            return True
        names, shards = self._only
        return unit in names or shard in shards

    def _add_commit(self, entry: SnapshotEntry) -> None:
        if self.store.is_local and not self.store.exists(entry.evidence.path):
            raise RuntimeEnvironmentError(
                f"{entry.unit} was committed, but {self.store.url}/{entry.evidence.path} is not on this machine. "
                "Either the file was deleted: then move the commit away too, and run the job again. Or a worker on "
                "another node wrote to its own disk: with several nodes, output.url and input.urls must be object "
                "stores or folders that all of them share"
            )
        if not self._publisher.committed.has(entry.shard, entry.unit):  # a rival run may have published it
            self._unpublished[entry.unit] = entry

    def _add_failure(self, task: Task, failure: Failure) -> None:
        self._retried.discard(task.name)
        failed = FailedUnit(
            unit=task.name, shard=task.shard.url, code=failure.code, detail=failure.detail[:MAX_DETAIL]
        )
        if task.unit is None:
            self._give_up(failed)
        else:
            self.failed[failed.unit] = failed

    def _read_commit(self, unit: Unit) -> CommitRecord | None:
        return read_commit(self.store, unit.name, self.plan.fingerprint(unit))

    def _use_known_facts(self) -> None:
        still_unread: deque[str] = deque()
        shards = iter(self._unread)
        while chunk := list(islice(shards, _FACTS_CHUNK)):
            known = map_parallel(lambda url: load_facts(self.store, self._stats[url], self._settings), chunk)
            for url, found in zip(chunk, known, strict=True):
                if found is None:
                    still_unread.append(url)
                    continue
                self._cut(found.facts)
                if not found.is_recorded:
                    self._unrecorded.append(found.facts)
        self._unread = still_unread

    def _cut(self, facts: ShardFacts) -> None:
        self.plan.split_shard(facts, self._samples_left())
        self._publisher.committed.recheck(facts.url)
        self._queue.add(facts.url)

    def _may_read(self) -> bool:
        return self._limit is None or (not self._num_reading and self._samples_left() != 0)

    def _samples_left(self) -> int | None:
        return None if self._limit is None else max(self._limit - self.plan.known_samples, 0)

    def _give_up(self, failed: FailedUnit) -> None:
        self.failed[failed.unit] = failed
        self.plan.mark_unreadable(failed.shard)
        self._publisher.committed.recheck(failed.shard)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress("units", self.count_done(), self.count_planned())
