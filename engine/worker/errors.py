"""How a task ends that does not end well: errors become outcomes, told apart by what they mean for the run.

Promise: an error of the machine ends the run, one of the input costs a shard, and a defect of ours costs one unit and
is seen. KeyboardInterrupt and SystemExit are nobody's outcome and pass.
"""

from __future__ import annotations

import errno
import traceback

from engine.task import WORKER_DIED, Failure, Outcome, Stop, Task
from engine.worker.bisection import NotTheSamples
from engine.worker.label_unit import TeacherBroken
from engine.worker.sandbox import NeverReady
from schemas.errors import GroundswellError, ShardDamagedError


class Recalled(Exception):
    """The worker is to take up nothing new: the task goes to another."""


class ChildEnded(Exception):
    """An isolated task ended as its child said."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def ended_by(task: Task, error: Exception) -> Outcome:
    """The outcome of a task that ended in an error."""
    if isinstance(error, ChildEnded):
        return error.outcome.model_copy(update={"task": task})
    if isinstance(error, ShardDamagedError):
        return Outcome(task=task, failure=Failure(code=error.code, detail=error.detail))
    if isinstance(error, TeacherBroken):
        return Outcome(task=task, failure=Failure(code="TEACHER_ERROR", detail=str(error)))
    if isinstance(error, Recalled):
        failure = Failure(code="RECALLED", detail="its worker is leaving", retryable=True, charged=False)
        return Outcome(task=task, failure=failure)
    if isinstance(error, NeverReady):
        return Outcome(task=task, failure=Failure(code="TEACHER_ERROR", detail=str(error), retryable=True))
    if isinstance(error, NotTheSamples | MemoryError):
        return died(task, f"{type(error).__name__}: {error}", retryable=not isinstance(error, NotTheSamples))
    if isinstance(error, GroundswellError):
        return Outcome(task=task, stop=Stop(error=type(error).__name__, message=str(error)))
    if isinstance(error, OSError):
        return Outcome(task=task, **_of_os_error(error))
    # a defect of ours must cost one unit and be seen, not end the job
    detail = "".join(traceback.format_exception(error, limit=-3))
    return Outcome(task=task, failure=Failure(code="UNIT_ERROR", detail=detail))


def died(task: Task, detail: str, retryable: bool = True) -> Outcome:
    """The outcome of a task whose process died, or could not show whose fault it is."""
    return Outcome(task=task, failure=Failure(code=WORKER_DIED, detail=detail, retryable=retryable))


def _of_os_error(error: OSError) -> dict[str, Failure | Stop]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"no space left: {error}; free some and run the same command again, it continues"
        return {"stop": Stop(error="RuntimeEnvironmentError", message=message)}
    return {"failure": Failure(code="STORE_ERROR", detail=f"{type(error).__name__}: {error}", retryable=True)}
