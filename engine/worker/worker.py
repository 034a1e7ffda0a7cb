"""A worker, in this process or in an actor: it indexes shards, and labels and commits units.

A task ends in an outcome, never in an exception. `run` may be called by two threads: while one unit is with the
teacher, the next one is read and decoded and the one before is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from engine.ledger.attempts import BACK_OFF_AFTER, begin_attempt
from engine.ledger.commits import read_commit, to_snapshot_entry
from engine.ledger.shard_facts import record_facts
from engine.ledger.unit_result import UnitResult
from engine.reading.shard_cache import ShardCache, ShardStat
from engine.storage.store import open_store
from engine.task import WORKER_DIED, Deferral, Failure, Outcome, Retry, Task, Trust, WorkerSpec
from engine.telemetry.metrics import Meter
from engine.telemetry.task_log import TaskLog
from engine.worker.errors import SandboxDiedError, SandboxFailedError, outcome_of
from engine.worker.label_stage import LabelStage
from engine.worker.open_shards import OpenShards
from engine.worker.sandbox.bisection import isolate
from engine.worker.sandbox.messages import SandboxAnswer, SandboxRequest
from engine.worker.sandbox.process import run_in_sandbox
from engine.worker.stage import ModelState, Stage
from engine.worker.turns import Turns
from schemas.ledger import FingerprintParts, ShardFacts, SnapshotEntry, Unit


class Worker:
    """Runs the tasks of one job. Its stage decides what is done with a unit."""

    def __init__(
        self,
        spec: WorkerSpec,
        cache: ShardCache | None = None,
        meter: Meter | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up the worker; nothing is loaded yet.

        progress: called for every sample prepared, every answer, and what a ProgressReporter reports
        """
        self._spec, self._progress = spec, progress
        self._name = f"{os.uname().nodename}-{os.getpid()}"
        self._log = TaskLog(spec.run_name, meter)
        self._store = open_store(spec.output_url, spec.output_storage)
        self._shards = OpenShards(spec.input, self._store, cache)
        self._stage: Stage = LabelStage(spec, self._store, self._shards, self._log, progress)
        self._turns = Turns()

    def run(self, task: Task) -> Outcome:
        """Run a task and return its outcome."""
        with self._log.task_context(task):
            return self._log.log_outcome(self._run(task))

    def recall(self) -> None:
        """Hand back tasks that are not with the teacher yet. The task that is with it goes on."""
        self._turns.recall()

    def _run(self, task: Task) -> Outcome:
        try:
            if task.unit is None or task.parts is None:
                facts = self._index_in_sandbox(task) if _is_isolated(task) else self._shards.index(task.shard)
                record_facts(self._store, task.shard, self._spec.input, facts)
                return Outcome(task=task, facts=facts)
            entry = self._complete(task, task.unit, task.parts)
            return Outcome(task=task, entry=entry, batch_size=self._stage.state().batch_size)
        except Exception as error:
            return outcome_of(task, error)

    def _complete(self, task: Task, unit: Unit, parts: FingerprintParts) -> SnapshotEntry:
        """Work on a unit and commit it, unless it is committed already."""
        fingerprint = parts.fingerprint()
        record = read_commit(self._store, unit.name, fingerprint)
        if record is not None:  # by an earlier run that died before it reported this
            return to_snapshot_entry(record)
        is_unbounded = task.deferral is Deferral.DONE or _is_isolated(task)
        at_most = None if is_unbounded else BACK_OFF_AFTER
        begin_attempt(self._store, unit.name, fingerprint, self._spec.epoch, self._name, at_most)
        result = self._work_isolated(task, unit) if _is_isolated(task) else self._work(task.shard, unit)
        return to_snapshot_entry(self._stage.commit(task.shard, unit, parts, result))

    def _work(self, stat: ShardStat, unit: Unit) -> UnitResult:
        with self._turns.prepare() as leave_preparation:
            self._stage.load_models()
            with self._log.measure_busy():
                work = self._stage.open_unit(stat, unit)
                work.begin(leave_preparation)
            try:
                with self._turns.label_turn(), self._log.measure_busy():
                    return self._stage.finish(work)
            finally:
                work.close()

    def _work_isolated(self, task: Task, unit: Unit) -> UnitResult:
        """Work on a unit in sandbox processes, while this process has neither a sample nor a model in memory."""
        with self._turns.prepare(), self._turns.label_turn():
            self._stage.release_models()
            with self._log.measure_busy():
                return isolate(unit, lambda span: self._work_in_sandbox(task, span))

    def _work_in_sandbox(self, task: Task, span: range) -> UnitResult:
        try:
            answer = self._ask_sandbox(task, span)
        except SandboxDiedError as death:
            self._stage.adopt_state(ModelState(score_kind=death.score_kind))
            raise
        self._stage.adopt_state(answer.model)
        return answer.result()

    def _index_in_sandbox(self, task: Task) -> ShardFacts:
        try:
            answer = self._ask_sandbox(task, range(0))
        except SandboxDiedError as death:
            detail = f"a process that only read it died: {death.detail}"
            raise SandboxFailedError(Failure(code=WORKER_DIED, detail=detail)) from None
        assert answer.facts is not None
        return answer.facts

    def _ask_sandbox(self, task: Task, span: range) -> SandboxAnswer:
        """Return a sandbox's answer. Raise SandboxFailedError if the sandbox could not do the request."""
        spec = self._spec.model_copy(update={"batch_size": self._stage.state().batch_size})
        request = SandboxRequest(spec=spec, task=task, first=span.start, stop=span.stop)
        answer = run_in_sandbox(request, self._progress)
        if answer.abort is not None:  # e.g. the accelerator has no room for a second process
            detail = f"a fresh process could not work: {answer.abort.message}"
            raise SandboxFailedError(Failure(code=WORKER_DIED, detail=detail, retry=Retry.CHARGED))
        if answer.failure is not None:
            raise SandboxFailedError(answer.failure)
        return answer


def _is_isolated(task: Task) -> bool:
    return task.trust is Trust.ISOLATED
