"""Makes what a worker works with: teacher, phrase finder, and the chooser of decoys, by the name of their factory.

Promise: what is made is what was planned with, by its digest.
"""

from __future__ import annotations

import importlib
from typing import Any

from engine.storage.store import Store
from engine.task import DecoySpec, Factory
from schemas.decoys import pool_path
from schemas.errors import ConfigError, ConflictError, GroundswellError, RuntimeEnvironmentError
from schemas.labeler import DecoyChooser, DecoyLabeler, Labeler


def make(factory: Factory) -> Any:
    """Build a labeler or phrase finder.

    raises: ConflictError when it is not the one that was planned with; RuntimeEnvironmentError when this machine
            cannot make it, which ends the run: a worker that took unit after unit and failed each would be worse
    """
    module, _, function = factory.factory.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)(**factory.arguments)
    except GroundswellError:
        raise
    except Exception as error:
        raise RuntimeEnvironmentError(
            f"{factory.factory} cannot be made here ({type(error).__name__}: {error}); models, packages and devices "
            "must be in place on every node; run `groundswell doctor` there"
        ) from error
    if made.digest != factory.digest:
        raise ConflictError(
            f"{factory.factory} has digest {made.digest}, planned was {factory.digest}: its files changed since the "
            "run began, or differ between machines"
        )
    return made


def chooser_of(decoys: DecoySpec | None, labeler: Labeler, store: Store) -> DecoyChooser | None:
    """The chooser over the pool that the output keeps; none for a job without decoys.

    raises: ConfigError for a teacher that cannot be asked for them, NotFoundError without the pool, and as `make`
    """
    if decoys is None:
        return None
    if not isinstance(labeler, DecoyLabeler):
        raise ConfigError(
            f"decoys: the teacher {type(labeler).__name__} cannot be asked for them; leave them out of the job"
        )
    data = store.read(pool_path(decoys.pool)).decode(
        "utf-8", "replace"
    )  # its digest tells, who parses it checks
    pool = {"pool": data, "pool_digest": decoys.pool}
    factory = decoys.chooser
    chooser: DecoyChooser = make(factory.model_copy(update={"arguments": factory.arguments | pool}))
    return chooser
