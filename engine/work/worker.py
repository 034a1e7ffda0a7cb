"""What a worker does, in this process or in an actor: read shards to their end, label and commit units.

Promise: a task ends in an outcome, never in an exception; errors that end the run travel by name.
"""

from __future__ import annotations

import errno
import importlib
import os
import traceback
from typing import Any

from engine.ledger.attempts import BACK_OFF_AFTER, ManyAttempts, begin_attempt
from engine.ledger.commits import commit_unit, entry_of, read_commit
from engine.ledger.units import index_shard, record_facts
from engine.reading.selection import SelectedShard, Selection, selection_from_bytes, selection_path
from engine.reading.shards import Shard, open_shard
from engine.reading.spool import ShardStat, Spool
from engine.storage import open_store
from engine.work.meter import Meter
from engine.work.run_unit import TeacherBroken, run_unit
from engine.work.tasks import Factory, Failure, Outcome, Stop, Task, WorkerSpec
from engine.work.telling import Telling
from schemas.errors import Conflict, EnvironmentProblem, GroundswellError, ShardDamaged
from schemas.labeler import Labeler, PhraseFinder
from schemas.ledger import FingerprintParts, SnapshotEntry, Unit


class Worker:
    """Reads, labels and commits. The teacher is loaded with the first unit and kept."""

    def __init__(self, spec: WorkerSpec, spool: Spool | None = None, meter: Meter | None = None) -> None:
        self._spec = spec
        self._telling = Telling(spec.run_name, meter)
        self._store = open_store(spec.output_url, spec.output_storage)
        self._spool = spool or Spool()
        self._teacher: tuple[Labeler, PhraseFinder] | None = None
        self._shard: tuple[ShardStat, Shard] | None = None
        self._name = f"{os.uname().nodename}-{os.getpid()}"
        self._selection: Selection | None = None

    def run(self, task: Task) -> Outcome:
        """Do the task."""
        with self._telling.about(task):
            return self._telling.ended(self._run(task))

    def _run(self, task: Task) -> Outcome:
        try:
            if task.unit is None or task.parts is None:
                facts = index_shard(task.shard, self._spec.input, self._spool)
                record_facts(self._store, task.shard, self._spec.input, facts)
                return Outcome(task=task, facts=facts)
            return Outcome(task=task, entry=self._label(task.shard, task.unit, task.parts, task.waited))
        except ManyAttempts:
            return Outcome(task=task, put_back=True)
        except ShardDamaged as damage:
            return Outcome(task=task, failure=Failure(code=damage.code, detail=damage.detail))
        except TeacherBroken as broken:
            return Outcome(task=task, failure=Failure(code="TEACHER_ERROR", detail=str(broken)))
        except GroundswellError as error:
            return Outcome(task=task, stop=Stop(error=type(error).__name__, message=str(error)))
        except OSError as error:
            return Outcome(task=task, **_of_os_error(error))
        except Exception:  # a defect of ours must cost one unit and be seen, not end the job
            detail = traceback.format_exc(limit=-3)
            return Outcome(task=task, failure=Failure(code="UNIT_ERROR", detail=detail))

    def _label(self, stat: ShardStat, unit: Unit, parts: FingerprintParts, waited: bool) -> SnapshotEntry:
        standing = read_commit(self._store, unit.name, parts.fingerprint())
        if standing is not None:  # committed by an earlier run that died before it said so
            return entry_of(standing)
        labeler, finder = self._loaded()
        at_most = None if waited else BACK_OFF_AFTER
        begin_attempt(self._store, unit.name, parts.fingerprint(), self._spec.epoch, self._name, at_most)
        with self._telling.busy():
            timed = self._telling.labeler(labeler)
            result = run_unit(unit, self._open(stat), finder, timed, self._spec.evidence)
        self._spool.confirm(stat)
        provenance = {
            "groundswell.teacher": labeler.digest,
            "groundswell.score_kind": labeler.score_kind,
            "groundswell.phrases": finder.digest,
            "groundswell.evidence": self._spec.evidence.model_dump_json(),
        }
        return entry_of(commit_unit(self._store, unit, parts, result, provenance))

    def _open(self, stat: ShardStat) -> Shard:
        path = self._spool.fetch(stat, self._spec.input.storage)
        if self._shard is None or self._shard[0] != stat:
            self._shard = (stat, self._chosen(stat, open_shard(path, stat.url, self._spec.input.reading())))
        return self._shard[1]

    def _chosen(self, stat: ShardStat, shard: Shard) -> Shard:
        """The shard, or the samples of it that the job's choice (`input.only`, by digest) names."""
        digest = self._spec.input.only
        if digest is None:
            return shard
        if self._selection is None:
            path = selection_path(digest)
            where = f"{self._store.url}/{path}"
            self._selection = selection_from_bytes(self._store.read(path), digest, where)
        return SelectedShard(shard, self._selection.keys_of(stat.url))

    def _loaded(self) -> tuple[Labeler, PhraseFinder]:
        if self._teacher is None:
            self._teacher = (make(self._spec.labeler), make(self._spec.finder))
        return self._teacher


def make(factory: Factory) -> Any:
    """Build a labeler or phrase finder.

    raises: Conflict when it is not the one that was planned with; EnvironmentProblem when this machine cannot make
            it, which ends the run: a worker that took unit after unit and failed each would be worse
    """
    module, _, function = factory.factory.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)(**factory.arguments)
    except GroundswellError:
        raise
    except Exception as error:
        raise EnvironmentProblem(
            f"{factory.factory} cannot be made here ({type(error).__name__}: {error}); models, packages and devices "
            "must be in place on every node; run `groundswell doctor` there"
        ) from error
    if made.digest != factory.digest:
        raise Conflict(
            f"{factory.factory} has digest {made.digest}, planned was {factory.digest}: its files changed since the "
            "run began, or differ between machines"
        )
    return made


def _of_os_error(error: OSError) -> dict[str, Failure | Stop]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"no space left: {error}; free some and run the same command again, it continues"
        return {"stop": Stop(error="EnvironmentProblem", message=message)}
    return {"failure": Failure(code="STORE_ERROR", detail=f"{type(error).__name__}: {error}", retryable=True)}
