"""The processes of a simulated run: drivers with their workers, clean-ups, readers. They call the real code.

A driver claims an epoch and uses `LabelRun`, as `label` does. A worker looks for a commit, begins an attempt and
commits. A clean-up collects orphans. A reader opens the latest snapshot and every file that it names.
"""

from __future__ import annotations

from collections import Counter, deque

from engine.driver.label_run import LabelRun
from engine.ledger.attempts import BACK_OFF_AFTER, TooManyAttemptsError, begin_attempt
from engine.ledger.commits import commit_unit, read_commit, to_snapshot_entry
from engine.ledger.evidence import read_evidence, read_rejections
from engine.ledger.garbage import collect_garbage
from engine.ledger.shard_facts import record_facts
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.task import Deferral, Failure, Outcome, Retry, Task
from schemas.errors import ConflictError, NotFoundError
from schemas.ledger import SnapshotEntry
from tests.suites.ledger.invariants import lost_units, of_the_job
from tests.suites.ledger.simulated_world import Process, SimulatedStore, Violation, World
from tests.suites.ledger.tiny_job import JOB, PROVENANCE, TinyJob

TRIES = 2


class Driver:
    """One run of a job with a few workers, each a process of its own. A dead worker is replaced."""

    def __init__(self, world: World, name: str, workers: int, variants: int, job: TinyJob = JOB) -> None:
        self.world, self.name, self._variants, self.job = world, name, variants, job
        self._store = SimulatedStore(world)
        self._tasks: deque[Task] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._held: dict[Process, Task] = {}
        self._out = 0
        self._room, self._epoch = workers, 0
        self.workers = [self._hire(n) for n in range(workers)]
        self.process = world.spawn(name, self._drive)

    def mourn(self, process: Process) -> None:
        """Count the task of a dead worker as failed, and start another worker."""
        if process in self._held:
            failure = Failure(code="WORKER_DIED", detail="killed", retry=Retry.CHARGED)
            self._outcomes.append(Outcome(task=self._held.pop(process), failure=failure))
        self.workers.remove(process)
        self.workers.append(self._hire(self._room))
        self._room += 1

    def _drive(self) -> None:
        try:
            work = LabelRun(self._store, self.job.new_plan(), self.job.settings)
            work.begin(self.job.stats, ())
            work.find_committed()
            work.publish()
            self._epoch = work.claim_epoch()
            self._hand_out(work)
            work.publish()
        except OSError:
            pass  # the run ends with exit 6
        except ConflictError as conflict:
            if "of another job" not in str(conflict):
                raise

    def _hand_out(self, work: LabelRun) -> None:
        tried: Counter[tuple[str, bool]] = Counter()
        while True:
            while self._out < len(self.workers) and (task := work.next_task()):
                self._submit(task)
            if not self._out:
                return
            self.world.wait(lambda: bool(self._outcomes))
            outcome = self._outcomes.popleft()
            self._out -= 1
            tried[of := (outcome.task.name, outcome.task.unit is None)] += 1
            if outcome.failure and tried[of] < TRIES:
                self._submit(outcome.task)
                continue
            work.settle(outcome)
            if self.world.random.random() < 0.3:
                work.publish()

    def _submit(self, task: Task) -> None:
        self._tasks.append(task)
        self._out += 1

    def _hire(self, number: int) -> Process:
        worker = self.world.spawn(f"{self.name}.worker{number}", lambda: self._work(worker))
        return worker

    def _work(self, worker: Process) -> None:
        while True:
            self.world.wait(lambda: bool(self._tasks) or not self.process.alive)
            if not self._tasks:
                return  # the driver is gone, and with it the work
            self._held[worker] = task = self._tasks.popleft()
            try:
                outcome = self._done(task)
            except TooManyAttemptsError:
                outcome = Outcome(task=task, is_deferred=True)
            except OSError as error:
                outcome = Outcome(task=task, failure=Failure(code="STORE_ERROR", detail=str(error)))
            self._outcomes.append(outcome)
            del self._held[worker]

    def _done(self, task: Task) -> Outcome:
        unit, parts = task.unit, task.parts
        if unit is None or parts is None:
            facts = self.job.facts_of(task.shard.url)
            record_facts(self._store, task.shard, self.job.settings, facts)
            return Outcome(task=task, facts=facts)
        record = read_commit(self._store, unit.name, parts.fingerprint())
        if record is None:
            at_most = None if task.deferral is Deferral.DONE else BACK_OFF_AFTER
            begin_attempt(self._store, unit.name, parts.fingerprint(), self._epoch, self.name, at_most)
            result = self.job.label(unit, self.world.random.randrange(self._variants))
            record = commit_unit(self._store, unit, parts, result, PROVENANCE)
        return Outcome(task=task, entry=to_snapshot_entry(record))


class CleanUp:
    """Collects orphans from some step on, once or twice; it ends if a later epoch was claimed."""

    def __init__(self, world: World, name: str, times: int = 1, begin_at: int = 0) -> None:
        self._world, self._store, self._times = world, SimulatedStore(world), times
        self._begin_at = begin_at
        world.spawn(name, self._clean)

    def _clean(self) -> None:
        self._world.wait(lambda: self._world.steps >= self._begin_at)
        for _ in range(self._times):
            try:
                collect_garbage(self._store)
            except OSError:
                pass  # exit 6; whoever wants it cleaned runs it again
            except ConflictError as conflict:
                if "nothing more is deleted" not in str(conflict):
                    raise


class Reader:
    """Opens the latest snapshot a few times; each must open, and none may have less than an earlier one."""

    def __init__(self, world: World, name: str, times: int) -> None:
        self._store, self._times = SimulatedStore(world), times
        self._seen: dict[str, list[SnapshotEntry]] = {}  # of the job of the snapshot that was read last
        world.spawn(name, self._read)

    def _read(self) -> None:
        for _ in range(self._times):
            try:
                self._open()
            except OSError:
                continue  # a reader tries again later

    def _open(self) -> None:
        try:
            snapshot = latest_snapshot(self._store)
        except NotFoundError:
            return
        try:
            for entry in (entries := list(snapshot_entries(self._store, snapshot))):
                rows = read_evidence(self._store, entry).num_rows
                refused = read_rejections(self._store, entry).num_rows
                if rows + refused != entry.counts.samples_in:
                    raise Violation(f"a reader found {rows + refused} samples in {entry.unit}")
        except (ConflictError, NotFoundError) as error:
            raise Violation(f"a published snapshot cannot be read: {error}") from error
        if lost := lost_units(self._seen.get(snapshot.job_digest, []), entries, snapshot.failed):
            raise Violation(f"snapshot {snapshot.version} lost {lost}, which a reader saw before")
        self._seen = {snapshot.job_digest: of_the_job(snapshot, entries)}
