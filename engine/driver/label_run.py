"""A labelling run on the driver: which tasks are left, what came of them, when to publish.

Promise: a unit that is committed under the asked fingerprint is not handed out again, and everything that is not
committed in the end is listed as failed or pending. Held are a bit a unit and some numbers a shard; objects only for
commits that are not published yet, and for what failed.
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
from engine.task import Outcome, Task
from engine.threads import map_parallel
from schemas.codes import SHARD_CODES
from schemas.errors import RuntimeEnvironmentError
from schemas.ledger import CommitRecord, FailedUnit, ShardFacts, Snapshot, SnapshotEntry, Unit
from schemas.progress import ProgressCallback

PUBLISH_EVERY_S = 15.0
PAUSE_PER_PUBLISH = 20  # times as long as publishing took: it takes no more than a twentieth of the time
_FACTS_AT_ONCE = 1024
LOOKED_UP_AT_MOST = 10_000  # units that are asked for one by one at a start; of more, the workers find out


class Labelling:
    """The state of one run. `next_task` and `settle` are what `dispatch.drive` asks for."""

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
        self._put_back: deque[Task] = deque()  # begun often by earlier runs: the others go first
        self._stats: dict[str, ShardStat] = {}
        self._unread: deque[str] = deque(plan.shards)
        self._again: set[str] = set()  # failed before, and not ended yet in this run
        self._only: tuple[frozenset[str], frozenset[str]] | None = None  # units and shards, see keep_only
        self._unrecorded: list[ShardFacts] = []
        self._reading = 0
        self._epoch: Epoch | None = None
        self._published_at = time.monotonic()
        self._publishing_took_s = 0.0

    def begin(self, stats: Iterable[ShardStat], missing: Iterable[FailedUnit]) -> None:
        """Take what a look at the shards told, what earlier runs recorded, and what they committed."""
        self._stats = {stat.url: stat for stat in stats}
        gone = {failed.shard for failed in missing if self._give_up(failed)}
        self._unread = deque(url for url in self._unread if url not in gone)
        if self._limit is None:
            self._use_known_facts()

    def record_facts(self) -> None:
        """Keep what `begin` found out about shards beyond what earlier runs recorded."""
        map_parallel(
            lambda facts: record_facts(self.store, self._stats[facts.url], self._settings, facts),
            self._unrecorded,
        )
        self._unrecorded.clear()

    def committed_before(self) -> int:
        """Mark units done that the newest snapshot or a commit record shows as done; how many."""
        if self._publisher.refresh() is None:
            return 0  # a run publishes before it hands out work; a worker looks once more for itself
        unlisted = list(islice(self._queue.waiting(), LOOKED_UP_AT_MOST + 1))
        if len(unlisted) <= LOOKED_UP_AT_MOST:
            for record in map_parallel(self._commit_of, unlisted):
                if record is not None:
                    self._unpublished[record.unit.name] = to_snapshot_entry(record)
        return self.committed

    @property
    def committed(self) -> int:
        """Units that are known to be committed."""
        return self._publisher.committed.count + len(self._unpublished)

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot that was seen, None where there was none."""
        return self._publisher.newest

    def next_is_due(self) -> bool:
        """Whether there is anything to hand out."""
        return bool(self._unread) or next(self._queue.waiting(), None) is not None

    def todo(self) -> list[Unit]:
        """Units that are cut and not committed, in plan order."""
        return list(self._queue.waiting())

    def claim_epoch(self) -> int:
        """Claim this run's epoch, if that is not done yet; its number."""
        if self._epoch is None:
            self._epoch = claim_epoch(self.store, "label", self.plan.job_digest)
        return self._epoch.number

    def planned(self) -> int:
        """Units planned by now; a shard that was not read yet counts as one."""
        return self._publisher.committed.count_planned()

    def done(self) -> int:
        """Units that are committed or failed for good."""
        return self.committed + len(self.failed) - len(self._again)

    def unread(self) -> int:
        """Shards that are to be read before anything of them can be labelled."""
        return len(self._unread)

    def keep_only(self, failed: Iterable[FailedUnit]) -> int:
        """Hand out nothing but what failed before: those units, and all of shards that failed whole; how many tasks."""
        fates = list(failed)
        names, named = {fate.unit for fate in fates}, {fate.shard for fate in fates}
        self._again = names - self.failed.keys()
        self.failed = {fate.unit: fate for fate in fates} | self.failed  # until they end otherwise
        shards = {fate.shard for fate in fates if fate.code in SHARD_CODES}
        self._only = frozenset(names), frozenset(shards)
        self._unread = deque(url for url in self._unread if url in named)
        return sum(1 for _ in self._queue.waiting()) + len(self._unread)

    def next_task(self) -> Task | None:
        """Units first, then the next unread shard; with a limit, one shard at a time and only while needed."""
        if (unit := self._queue.next_unit()) is not None:
            return Task(shard=self._stats[unit.shard], unit=unit, parts=self.plan.parts(unit))
        if self._unread and self._may_read():
            self._reading += 1
            return Task(shard=self._stats[self._unread.popleft()])
        if self._put_back and not self._reading:
            return self._put_back.popleft()
        return None

    def left(self) -> int:
        """See Work."""
        return self._queue.left + len(self._unread) + len(self._put_back)

    def settle(self, outcome: Outcome) -> None:
        """Take a final outcome."""
        if outcome.task.unit is None:
            self._reading -= 1
        if outcome.put_back:
            self._put_back.append(outcome.task.model_copy(update={"waited": True}))
        elif outcome.facts is not None:
            self._cut(outcome.facts)
        elif outcome.entry is not None:
            self._note(outcome.entry)
            self.failed.pop(outcome.entry.unit, None)
            self._again.discard(outcome.entry.unit)
        elif outcome.failure is not None:
            failure, shard = outcome.failure, outcome.task.shard.url
            self._again.discard(outcome.task.name)
            failed = FailedUnit(
                unit=outcome.task.name, shard=shard, code=failure.code, detail=failure.detail[:500]
            )
            if outcome.task.unit is None:
                self._give_up(failed)
            else:
                self.failed[failed.unit] = failed
        self._report()
        since = time.monotonic() - self._published_at
        if since > max(PUBLISH_EVERY_S, PAUSE_PER_PUBLISH * self._publishing_took_s):
            self.publish()

    def publish(self) -> Snapshot:
        """Publish what is committed by now.

        Raises ConflictError when a run of another job has taken the output over.
        """
        begun = time.monotonic()
        if self._epoch is not None:
            self._epoch.check_no_rival()
        snapshot = self._publisher.publish(self._unpublished, self.failed.values())
        self._unpublished.clear()
        self._published_at = time.monotonic()
        self._publishing_took_s = self._published_at - begun
        return snapshot

    def leave_out_unread(self) -> None:
        """With a limit reached, the shards not needed are no part of the plan."""
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
        return name in self._unpublished or not self._is_asked(shard, name)

    def _is_asked(self, shard: str, unit: str) -> bool:
        """Whether `keep_only` left the unit; of a shard that was to be read, all that it turns out to hold."""
        if self._only is None:
            return True
        names, shards = self._only
        return unit in names or shard in shards

    def _note(self, entry: SnapshotEntry) -> None:
        if self.store.is_local and not self.store.exists(entry.evidence.path):
            raise RuntimeEnvironmentError(
                f"{entry.unit} was committed, but {self.store.url}/{entry.evidence.path} is not on this machine: "
                "the file was deleted (then move the commit away too, and run the job again), or a worker on another "
                "node wrote to its own disk; with several nodes, output.url and input.urls must be object stores or "
                "folders that all of them share"
            )
        if not self._publisher.committed.has(
            entry.shard, entry.unit
        ):  # a rival may have published it meanwhile
            self._unpublished[entry.unit] = entry

    def _commit_of(self, unit: Unit) -> CommitRecord | None:
        return read_commit(self.store, unit.name, self.plan.fingerprint(unit))

    def _use_known_facts(self) -> None:
        still_unread: deque[str] = deque()
        shards = iter(self._unread)
        while chunk := list(islice(shards, _FACTS_AT_ONCE)):
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
        return self._limit is None or (not self._reading and self._samples_left() != 0)

    def _samples_left(self) -> int | None:
        return None if self._limit is None else max(self._limit - self.plan.known_samples, 0)

    def _give_up(self, failed: FailedUnit) -> bool:
        self.failed[failed.unit] = failed
        self.plan.mark_unreadable(failed.shard)
        self._publisher.committed.recheck(failed.shard)
        return True

    def _report(self) -> None:
        if self._progress is not None:
            self._progress("units", self.done(), self.planned())
