"""Labelers and phrase finders are made where they work, from the name of their factory.

Promise: what is made is what was planned with, or nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from engine.work.tasks import Factory
from schemas.errors import Conflict, EnvironmentProblem, GroundswellError


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
