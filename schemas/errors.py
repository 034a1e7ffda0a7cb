"""Errors that reach the user, one class for each meaning that an error can have for the run.

Each class has the exit code of the command line (docs/interfaces.md). A message names the thing, its value, what was
expected and the remedy.
"""

from __future__ import annotations


def stored_name(error: BaseException) -> str:
    """Return the name of the error's class as records store it.

    Records of failures, rejections and progress have held these names since their classes had other ones, and the
    digest of a unit covers those in rejections. So a class that was renamed keeps its first name in `stored_name`.
    """
    kind = type(error)
    return str(vars(kind).get("stored_name", kind.__name__))


class GroundswellError(Exception):
    """Base of the errors that stop a command with a message for its user."""

    exit_code = 1


class ConfigError(GroundswellError):
    """A configuration or a command line is invalid; `where` is `file:line:col` if it is known."""

    exit_code = 2

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class UnfinishedError(GroundswellError):
    """The run ended with failed units, or a quality gate was not passed."""

    exit_code = 3


class NotFoundError(GroundswellError):
    """A file, an output or a record does not exist."""

    stored_name = "NotFound"
    exit_code = 4


class ConflictError(GroundswellError):
    """Two records contradict each other: another run's record, a digest that does not match."""

    stored_name = "Conflict"
    exit_code = 5


class RuntimeEnvironmentError(GroundswellError):
    """This machine or cluster cannot do what was requested; `groundswell doctor` names the fix."""

    stored_name = "EnvironmentProblem"
    exit_code = 6


class OutOfMemoryError(GroundswellError):
    """A teacher ran out of accelerator or host memory on a batch; the engine decides what to do next."""

    stored_name = "OutOfMemory"


class EmptyPhraseError(GroundswellError):
    """A phrase's span covers no token of the prompt, so the phrase has no score."""

    stored_name = "EmptyPhrase"


class SampleRejectedError(Exception):
    """One sample cannot be used. It is counted with `code` (see `schemas.codes`) and its unit continues."""

    stored_name = "SampleRejected"

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail[:200]


class ShardDamagedError(GroundswellError):
    """A shard cannot be read to its end; `code` is a shard code of `schemas.codes`."""

    stored_name = "ShardDamaged"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail[:500]
