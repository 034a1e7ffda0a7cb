"""Loading of what a worker works with: teacher, phrase finder and decoy chooser, by the names of their factories.

What is loaded has the digest that the run was planned with.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from engine.storage.store import Store
from engine.task import DecoySpec, Factory, WorkerSpec
from engine.worker.stage import ModelState
from schemas.decoys import pool_path
from schemas.errors import ConfigError, ConflictError, GroundswellError, RuntimeEnvironmentError
from schemas.labeler import (
    AnswerKeeper,
    DecoyChooser,
    DecoyLabeler,
    Labeler,
    PhraseFinder,
    ProgressReporter,
)


@dataclass(frozen=True)
class LoadedTeacher:
    """A labeler with its phrase finder, and a decoy chooser if the job asks for decoys."""

    labeler: Labeler
    finder: PhraseFinder
    chooser: DecoyChooser | None = None


class TeacherLoader:
    """Loads the teacher of a job with the first unit, keeps it, and tracks its lowered batch size."""

    def __init__(self, spec: WorkerSpec, store: Store, progress: Callable[[], None] = lambda: None) -> None:
        self._spec, self._store, self._progress = spec, store, progress
        self._teacher: LoadedTeacher | None = None
        self._chooser: DecoyChooser | None = None
        self._planned_batch_size = 0
        self.state = ModelState(batch_size=spec.batch_size)

    def load(self) -> LoadedTeacher:
        """Return the teacher; load it if it is not loaded. For errors see `make_labeler`."""
        if self._teacher is None:
            labeler = make_labeler(self._spec.labeler)
            if isinstance(labeler, AnswerKeeper):
                labeler.keep_answers(self._store)
            if isinstance(labeler, ProgressReporter):
                labeler.report_progress(self._progress)
            self.adopt(ModelState(score_kind=labeler.score_kind))
            self._planned_batch_size = labeler.batch_size
            labeler.batch_size = min(labeler.batch_size, self.state.batch_size or labeler.batch_size)
            self._chooser = self._chooser or make_chooser(self._spec.decoys, labeler, self._store)
            self._teacher = LoadedTeacher(labeler, make_finder(self._spec.finder), self._chooser)
        return self._teacher

    def release(self) -> None:
        """Free the teacher's memory."""
        if self._teacher is None:
            return
        close: Callable[[], None] | None = getattr(self._teacher.labeler, "close", None)
        self._teacher = None
        if close is not None:
            close()
        gc.collect()

    def note_batch_size(self) -> None:
        """Note the labeler's batch size if running out of memory lowered it."""
        assert self._teacher is not None
        batch_size = self._teacher.labeler.batch_size
        if batch_size < self._planned_batch_size:
            self.adopt(ModelState(batch_size=batch_size))

    def adopt(self, state: ModelState) -> None:
        """Take over what another process learned; what it did not learn stays."""
        learned = {name: value for name, value in state if value}
        self.state = self.state.model_copy(update=learned)


class _HasDigest(Protocol):
    digest: str


def make_labeler(factory: Factory) -> Labeler:
    """Make a labeler.

    raises: ConflictError if its digest is not the planned one; RuntimeEnvironmentError if it cannot be made on this
            machine. Both end the run, because a worker without a teacher would fail unit after unit
    """
    return cast(Labeler, _make(factory))


def make_finder(factory: Factory) -> PhraseFinder:
    """Make a phrase finder. For errors see `make_labeler`."""
    return cast(PhraseFinder, _make(factory))


def make_chooser(decoys: DecoySpec | None, labeler: Labeler, store: Store) -> DecoyChooser | None:
    """Make the chooser over the decoy pool in the output; return None for a job without decoys.

    raises: ConfigError if the teacher takes no decoys, NotFoundError without the pool, others as `make_labeler`
    """
    if decoys is None:
        return None
    if not isinstance(labeler, DecoyLabeler):
        raise ConfigError(
            f"decoys: the teacher {type(labeler).__name__} takes no decoys; remove `decoys` from the job"
        )
    # undecodable bytes are found by the parser, which checks the pool's digest
    pool = store.read(pool_path(decoys.pool)).decode("utf-8", "replace")
    factory = decoys.chooser
    arguments = {**factory.arguments, "pool": pool, "pool_digest": decoys.pool}
    return cast(DecoyChooser, _make(factory.model_copy(update={"arguments": arguments})))


def _make(factory: Factory) -> _HasDigest:
    module, _, function = factory.factory.partition(":")
    try:
        made: _HasDigest = getattr(importlib.import_module(module), function)(**factory.arguments)
    except GroundswellError:
        raise
    except Exception as error:
        raise RuntimeEnvironmentError(
            f"{factory.factory} failed to load on this machine ({type(error).__name__}: {error}). Models, packages and "
            "devices must be in place on every node; run `groundswell doctor` there"
        ) from error
    if made.digest != factory.digest:
        raise ConflictError(
            f"{factory.factory} has digest {made.digest}, but the run was planned with {factory.digest}: its files "
            "changed since the run began, or differ between machines; install the same files on every node and start "
            "again"
        )
    return made
