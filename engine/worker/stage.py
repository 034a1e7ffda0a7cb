"""The interface between a worker and a stage: what a worker needs to know of the work on a unit.

The worker supplies attempts, turns, isolation and outcomes. A stage supplies the work on a unit and the tables of its
commit. Labeling is the only stage so far. On the driver's side, a stage is a `Work` (engine/driver/dispatch.py): it
supplies the units and the parts of their fingerprints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.ledger.unit_result import UnitResult
from engine.reading.shard_cache import ShardStat
from schemas.ledger import CommitRecord, FingerprintParts, Unit
from schemas.records import Record


class ModelState(Record):
    """What a process learned of its model: provenance of a commit, and the start of the next process."""

    batch_size: int | None = None
    """Batch size after running out of memory; None: it was never lowered."""
    score_kind: str = ""
    """What the raw score is; empty: no model was loaded yet."""


class UnitWork(Protocol):
    """The work on one unit in two steps, so that the next unit is prepared while a model works on this one."""

    keys: dict[int, str]
    """Keys of the unit's samples by index, once `begin` returned."""

    def begin(self, when_prepared: Callable[[], None] = ...) -> None:
        """Read the unit and start to prepare its samples. `when_prepared` is called once all input was read."""
        ...

    def finish(self) -> UnitResult:
        """Ask the model about all samples and return the result."""
        ...

    def close(self) -> None:
        """Stop the preparation, for a unit that is given up between the steps."""
        ...


class Stage(Protocol):
    """What is done with a unit. Models are loaded with the first unit and kept."""

    def load_models(self) -> None:
        """Load the models if they are not loaded."""
        ...

    def open_unit(self, stat: ShardStat, unit: Unit, span: range | None = None) -> UnitWork:
        """Return the work on a unit, or on the samples of it that `span` names. Load the models if needed."""
        ...

    def finish(self, work: UnitWork) -> UnitResult:
        """Finish the work on a unit, and note what it changed in the models' state."""
        ...

    def commit(
        self, stat: ShardStat, unit: Unit, parts: FingerprintParts, result: UnitResult
    ) -> CommitRecord:
        """Check a unit's result and commit its tables. Return the valid record, which may be a rival's."""
        ...

    def state(self) -> ModelState:
        """Return what is known of the models."""
        ...

    def adopt_state(self, state: ModelState) -> None:
        """Take over what a sandbox process learned of its models."""
        ...

    def release_models(self) -> None:
        """Free the models' memory, before sandbox processes load models of their own."""
        ...
