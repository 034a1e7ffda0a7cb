"""What a worker does, in this process or in an actor: read shards to their end, label and commit units.

Promise: a task ends in an outcome, never in an exception; errors that end the run travel by name. `run` may be called
by two threads: while one unit is with the teacher the next is read and decoded, and the one before is committed.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.ledger.attempts import BACK_OFF_AFTER, TooManyAttemptsError, begin_attempt
from engine.ledger.commits import commit_unit, read_commit, to_snapshot_entry
from engine.ledger.shard_facts import index_shard, record_facts
from engine.ledger.unit_result import UnitResult
from engine.reading.key_selection import SelectedShard, Selection, parse_selection, selection_path
from engine.reading.shard_cache import ShardCache, ShardStat
from engine.reading.shards import Shard, open_shard
from engine.storage.store import open_store
from engine.task import Outcome, Task, WorkerSpec
from engine.telemetry.metrics import Meter
from engine.telemetry.task_log import TaskLog
from engine.worker.bisection import Died, isolate
from engine.worker.decoy_pass import SecondPass
from engine.worker.errors import ChildEnded, Recalled, died, ended_by
from engine.worker.label_unit import Labelled, UnitRun, checked
from engine.worker.loading import chooser_of, make
from engine.worker.sandbox import Answer, Request, in_child, take_note
from schemas.labeler import DecoyChooser, Labeler, PhraseFinder
from schemas.ledger import FingerprintParts, ShardFacts, SnapshotEntry, Unit

_SHARDS_OPEN = 2  # of the unit with the teacher, and of the next
_POLL_S = 0.2


class Worker:
    """Reads, labels and commits. The teacher is loaded with the first unit and kept."""

    def __init__(
        self,
        spec: WorkerSpec,
        shard_cache: ShardCache | None = None,
        meter: Meter | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._progress = spec, progress
        self._task_log = TaskLog(spec.run_name, meter)
        self._store = open_store(spec.output_url, spec.output_storage)
        self._shard_cache = shard_cache or ShardCache()
        self._teacher: tuple[Labeler, PhraseFinder] | None = None
        self._chooser: DecoyChooser | None = None
        self._shards: dict[ShardStat, Shard] = {}
        self._name = f"{os.uname().nodename}-{os.getpid()}"
        self._selection: Selection | None = None
        self._batch_size = spec.batch_size
        self._planned_batch_size = 0
        self._score_kind = ""
        self._preparing, self._teaching = threading.Semaphore(), threading.Semaphore()
        self._one_prepares, self._recalled = threading.Lock(), threading.Event()

    def run(self, task: Task) -> Outcome:
        """Do the task."""
        with self._task_log.task_context(task):
            return self._task_log.log_outcome(self._run(task))

    def _run(self, task: Task) -> Outcome:
        try:
            if task.unit is None or task.parts is None:
                facts = self._read_in_child(task) if task.isolate else self._read(task)
                record_facts(self._store, task.shard, self._spec.input, facts)
                return Outcome(task=task, facts=facts)
            entry = self._label(task, task.unit, task.parts)
            return Outcome(task=task, entry=entry, batch_size=self._batch_size)
        except TooManyAttemptsError:
            return Outcome(task=task, put_back=True)
        except Exception as error:
            return ended_by(task, error)

    def recall(self) -> None:
        """Give tasks back that are not with the teacher yet; what is with it goes on."""
        self._recalled.set()

    def answer(self, request: Request, folder: str, ready: Callable[[], None]) -> Answer:
        """What a disposable process does of a request. Raises MemoryError."""
        task = request.task
        try:
            if task.unit is None:
                ready()
                return Answer(outcome=Outcome(task=task, facts=self._read(task)))
            run = self._unit_run(task.shard, task.unit, range(request.first, request.stop))
            take_note(folder, self._score_kind, {})
            ready()
            run.begin()
            take_note(folder, self._score_kind, run.keys)
            labelled = run.label()
        except MemoryError:
            raise
        except Exception as error:
            return Answer(outcome=ended_by(task, error))
        self._note_batch_size()
        return Answer(
            rows=labelled.result.rows,
            rejections=labelled.result.rejections,
            answered=labelled.answered,
            batch_size=self._batch_size,
            score_kind=self._score_kind,
        )

    def _read(self, task: Task) -> ShardFacts:
        return index_shard(task.shard, self._spec.input, self._shard_cache)

    def _label(self, task: Task, unit: Unit, parts: FingerprintParts) -> SnapshotEntry:
        standing = read_commit(self._store, unit.name, parts.fingerprint())
        if standing is not None:  # committed by an earlier run that died before it said so
            return to_snapshot_entry(standing)
        at_most = None if task.waited or task.isolate else BACK_OFF_AFTER
        begin_attempt(self._store, unit.name, parts.fingerprint(), self._spec.epoch, self._name, at_most)
        with self._task_log.measure_busy():
            labelled = self._isolated(task, unit) if task.isolate else self._labelled(task.shard, unit)
        result = checked(unit, labelled)
        self._shard_cache.check_in_place(task.shard)
        return to_snapshot_entry(commit_unit(self._store, unit, parts, result, self._provenance()))

    def _labelled(self, stat: ShardStat, unit: Unit) -> Labelled:
        with self._turn(self._preparing) as prepared:
            run = self._unit_run(stat, unit)
            run.begin(prepared)
            try:
                with self._turn(self._teaching):
                    labelled = run.label()
                    self._note_batch_size()
                    return labelled
            finally:
                run.close()

    def _isolated(self, task: Task, unit: Unit) -> Labelled:
        """Label the unit in disposable processes, while this one holds neither a sample nor a teacher."""
        with self._turn(self._preparing), self._turn(self._teaching):
            self._release_teacher()
            return isolate(unit, lambda span: self._attempt(task, span))

    def _attempt(self, task: Task, span: range) -> Labelled | Died:
        answer = self._in_child(task, span)
        self._score_kind = answer.score_kind or self._score_kind
        if isinstance(answer, Died):
            return answer
        if answer.batch_size is not None:
            self._batch_size = answer.batch_size
        return Labelled(UnitResult(answer.rows, answer.rejections), answer.answered)

    def _read_in_child(self, task: Task) -> ShardFacts:
        answer = self._in_child(task, range(0))
        if isinstance(answer, Died):
            raise ChildEnded(
                died(task, f"a process that only read it died: {answer.detail}", retryable=False)
            )
        assert answer.outcome is not None and answer.outcome.facts is not None
        return answer.outcome.facts

    def _in_child(self, task: Task, span: range) -> Answer | Died:
        spec = self._spec.model_copy(update={"batch_size": self._batch_size})
        request = Request(spec=spec, task=task, first=span.start, stop=span.stop)
        answer = in_child(request, self._progress)
        outcome = answer.outcome if isinstance(answer, Answer) else None
        if outcome is not None and outcome.stop is not None:  # e.g. no room beside us on the accelerator
            raise ChildEnded(died(task, f"a fresh process could not work: {outcome.stop.message}"))
        if outcome is not None and outcome.facts is None:
            raise ChildEnded(outcome)
        return answer

    def _unit_run(self, stat: ShardStat, unit: Unit, span: range | None = None) -> UnitRun:
        labeler, finder = self._loaded()
        timed, threads = self._task_log.time_labeler(labeler), self._spec.run.prepare_threads
        shard, evidence = self._open(stat), self._spec.evidence
        second = SecondPass(self._chooser, timed, evidence) if self._chooser else None
        return UnitRun(
            unit, shard, finder, timed, evidence, span, threads, self._progress, self._one_prepares, second
        )

    @contextmanager
    def _turn(self, place: threading.Semaphore) -> Iterator[Callable[[], None]]:
        """Hold the place, until the block ends or the yielded function is called. Raises Recalled while waiting."""
        while not place.acquire(timeout=_POLL_S):
            if self._recalled.is_set():
                raise Recalled
        held = [place]

        def leave() -> None:
            if held:
                held.pop().release()

        try:
            if self._recalled.is_set():
                raise Recalled
            yield leave
        finally:
            leave()

    def _open(self, stat: ShardStat) -> Shard:
        path = self._shard_cache.fetch(stat, self._spec.input.storage)
        if stat not in self._shards:
            while len(self._shards) >= _SHARDS_OPEN:
                del self._shards[next(iter(self._shards))]
            whole = open_shard(path, stat.url, self._spec.input.reading())
            self._shards[stat] = self._chosen(stat, whole)
        return self._shards[stat]

    def _chosen(self, stat: ShardStat, shard: Shard) -> Shard:
        """The shard, or the samples of it that the job's choice (`input.only`, by digest) names."""
        digest = self._spec.input.only
        if digest is None:
            return shard
        if self._selection is None:
            path = selection_path(digest)
            where = f"{self._store.url}/{path}"
            self._selection = parse_selection(self._store.read(path), digest, where)
        return SelectedShard(shard, self._selection.keys_of(stat.url))

    def _loaded(self) -> tuple[Labeler, PhraseFinder]:
        if self._teacher is None:
            labeler = make(self._spec.labeler)
            self._score_kind, self._planned_batch_size = labeler.score_kind, labeler.batch_size
            labeler.batch_size = min(labeler.batch_size, self._batch_size or labeler.batch_size)
            self._chooser = self._chooser or chooser_of(self._spec.decoys, labeler, self._store)
            self._teacher = (labeler, make(self._spec.finder))
        return self._teacher

    def _release_teacher(self) -> None:
        if self._teacher is not None:
            close = getattr(self._teacher[0], "close", None)
            self._teacher = None
            if close is not None:
                close()
            gc.collect()

    def _note_batch_size(self) -> None:
        assert self._teacher is not None
        now = self._teacher[0].batch_size
        if now < self._planned_batch_size:
            self._batch_size = now

    def _provenance(self) -> dict[str, str]:
        provenance = {
            "groundswell.teacher": self._spec.labeler.digest,
            "groundswell.score_kind": self._score_kind,
            "groundswell.phrases": self._spec.finder.digest,
            "groundswell.evidence": self._spec.evidence.model_dump_json(),
        }
        if self._spec.decoys is not None:
            provenance["groundswell.decoys"] = self._spec.decoys.pool
        if self._batch_size is not None:  # only then: what is not disturbed has the same bytes everywhere
            provenance["groundswell.batch_size"] = str(self._batch_size)
        return provenance
