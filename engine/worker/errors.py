"""The errors that end a task without a result, and the outcome that each error leads to.

An error of the machine ends the run, an error of the input costs its shard, and a defect of ours costs one unit and
is reported. KeyboardInterrupt and SystemExit are not handled here.
"""

from __future__ import annotations

import errno
import traceback
from typing import ClassVar

from engine.ledger.attempts import TooManyAttemptsError
from engine.task import WORKER_DIED, Abort, Failure, Outcome, Retry, Task
from schemas.errors import GroundswellError, RuntimeEnvironmentError, ShardDamagedError, stored_name


class TaskError(Exception):
    """Base of the errors that end a task. Each class states the code of its failure and whether to retry."""

    code: ClassVar[str]
    retry: ClassVar[Retry]

    def failure(self) -> Failure:
        """Return the failure as the driver and the ledger see it."""
        return Failure(code=self.code, detail=str(self), retry=self.retry)


class RecalledError(TaskError):
    """The worker leaves and starts nothing new, so the task goes to another worker."""

    code = "RECALLED"
    retry = Retry.FREE

    def __init__(self) -> None:
        super().__init__("its worker is leaving")


class TeacherBrokenError(TaskError):
    """Several samples failed in the finder or the teacher and none got an answer. Nothing is committed."""

    code = "TEACHER_ERROR"
    retry = Retry.NEVER


class SandboxNotReadyError(TaskError):
    """A sandbox process died or hung before it had any sample."""

    code = "TEACHER_ERROR"
    retry = Retry.CHARGED


class SandboxDiedError(TaskError):
    """A sandbox process ended without an answer.

    sample_code: reason code of the sample, if the process had only one
    key:         key of that sample, if the process noted it
    score_kind:  what the process noted of its teacher; empty: nothing
    """

    code = WORKER_DIED
    retry = Retry.CHARGED

    def __init__(self, sample_code: str, detail: str, key: str = "", score_kind: str = "") -> None:
        super().__init__(detail)
        self.sample_code, self.detail = sample_code, detail
        self.key, self.score_kind = key, score_kind


class SandboxFailedError(TaskError):
    """A sandbox process answered with a failure instead of a result, which states code and retry."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self._failure = failure

    def failure(self) -> Failure:
        """Return the failure that the sandbox reported."""
        return self._failure


class NoSampleToBlameError(TaskError):
    """Fresh processes die whichever sample they have: the machine, the teacher or the whole unit is at fault."""

    code = WORKER_DIED
    retry = Retry.NEVER
    stored_name = "NotTheSamples"

    def failure(self) -> Failure:
        """Return the failure, with the name that outputs have always stored."""
        return Failure(code=self.code, detail=f"{stored_name(self)}: {self}", retry=self.retry)


def outcome_of(task: Task, error: Exception) -> Outcome:
    """Return the outcome of a task that ended in an error."""
    if isinstance(error, TaskError):
        return Outcome(task=task, failure=error.failure())
    if isinstance(error, TooManyAttemptsError):
        return Outcome(task=task, is_deferred=True)
    if isinstance(error, ShardDamagedError):
        return Outcome(task=task, failure=Failure(code=error.code, detail=error.detail))
    if isinstance(error, MemoryError):
        detail = f"{stored_name(error)}: {error}"
        return Outcome(task=task, failure=Failure(code=WORKER_DIED, detail=detail, retry=Retry.CHARGED))
    if isinstance(error, GroundswellError):
        return Outcome(task=task, abort=Abort(error=type(error).__name__, message=str(error)))
    if isinstance(error, OSError):
        return _outcome_of_os_error(task, error)
    # a defect of ours must cost one unit and be seen, not end the job
    detail = "".join(traceback.format_exception(error, limit=-3))
    return Outcome(task=task, failure=Failure(code="UNIT_ERROR", detail=detail))


def _outcome_of_os_error(task: Task, error: OSError) -> Outcome:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"no space left: {error}; free some and run the same command again, it continues"
        return Outcome(task=task, abort=Abort(error=RuntimeEnvironmentError.__name__, message=message))
    detail = f"{stored_name(error)}: {error}"
    return Outcome(task=task, failure=Failure(code="STORE_ERROR", detail=detail, retry=Retry.CHARGED))
