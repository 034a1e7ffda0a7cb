"""The labeling stage: the units are slices of shards, the tables of a commit are evidence and rejections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from engine.ledger.commits import commit_unit
from engine.ledger.unit_result import UnitResult
from engine.reading.shard_cache import ShardStat
from engine.storage.store import Store
from engine.task import WorkerSpec
from engine.telemetry.task_log import TaskLog
from engine.worker.label_unit import UnitRun, check_teacher
from engine.worker.loading import TeacherLoader
from engine.worker.open_shards import OpenShards
from engine.worker.stage import ModelState, UnitWork
from schemas.ledger import CommitRecord, FingerprintParts, Unit


class LabelStage:
    """Labels units with the teacher of a job. It is a `Stage`."""

    def __init__(
        self,
        spec: WorkerSpec,
        store: Store,
        shards: OpenShards,
        log: TaskLog,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._store, self._shards = spec, store, shards
        self._log, self._progress = log, progress
        self._loader = TeacherLoader(spec, store, progress)
        self._prepare_lock = threading.Lock()

    def load_models(self) -> None:
        """Load the teacher, the finder and the chooser of decoys, if they are not loaded."""
        self._loader.load()

    def open_unit(self, stat: ShardStat, unit: Unit, span: range | None = None) -> UnitRun:
        """Load the teacher, open the shard and return the run of the unit."""
        teacher = self._loader.load()
        return UnitRun(
            unit,
            self._shards.open(stat),
            replace(teacher, labeler=self._log.time_labeler(teacher.labeler)),
            self._spec.evidence,
            span=span,
            threads=self._spec.run.prepare_threads,
            progress=self._progress,
            prepare_lock=self._prepare_lock,
        )

    def finish(self, work: UnitWork) -> UnitResult:
        """Finish the run of a unit, and note a lowered batch size."""
        result = work.finish()
        self._loader.note_batch_size()
        return result

    def commit(
        self, stat: ShardStat, unit: Unit, parts: FingerprintParts, result: UnitResult
    ) -> CommitRecord:
        """Commit evidence and rejections. Raise TeacherBrokenError, or ShardDamagedError if the shard was replaced."""
        check_teacher(unit, result)
        self._shards.confirm(stat)
        return commit_unit(self._store, unit, parts, result, self._provenance())

    def state(self) -> ModelState:
        """Return the teacher's score kind and lowered batch size."""
        return self._loader.state

    def adopt_state(self, state: ModelState) -> None:
        """Take over what a sandbox process learned of its teacher."""
        self._loader.adopt(state)

    def release_models(self) -> None:
        """Free the teacher's memory."""
        self._loader.release()

    def _provenance(self) -> dict[str, str]:
        state = self._loader.state
        provenance = {
            "groundswell.teacher": self._spec.labeler.digest,
            "groundswell.score_kind": state.score_kind,
            "groundswell.phrases": self._spec.finder.digest,
            "groundswell.evidence": self._spec.evidence.model_dump_json(),
        }
        if self._spec.decoys is not None:
            provenance["groundswell.decoys"] = self._spec.decoys.pool
        if state.batch_size is not None:  # only then: undisturbed workers write the same bytes everywhere
            provenance["groundswell.batch_size"] = str(state.batch_size)
        return provenance
