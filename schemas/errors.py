"""The errors a user meets, told apart by what they mean for the run.

Each carries the exit code of the command line (docs/interfaces.md). A message names the thing, its value, what was
expected and the remedy.
"""

from __future__ import annotations


class GroundswellError(Exception):
    """Anything that stops a command with a message for its user."""

    exit_code = 1


class ConfigError(GroundswellError):
    """A configuration or a command line that cannot be meant; `where` is `file:line:col` when it is known."""

    exit_code = 2

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class UnfinishedError(GroundswellError):
    """The run ended, but with failed units or a gate that was not passed."""

    exit_code = 3


class NotFoundError(GroundswellError):
    """A file, an output or a record that was named does not exist."""

    exit_code = 4


class ConflictError(GroundswellError):
    """Two truths about one thing: another run's record, a digest that does not match."""

    exit_code = 5


class RuntimeEnvironmentError(GroundswellError):
    """This machine or cluster cannot do what was asked; `groundswell doctor` says the fix."""

    exit_code = 6


class OutOfMemoryError(GroundswellError):
    """A teacher ran out of accelerator or host memory on a batch; the engine decides what follows."""


class EmptyPhraseError(GroundswellError):
    """A phrase's span covers no token of the prompt, so no score of it could be read."""


class SampleRejectedError(Exception):
    """One sample cannot be used. It is counted with `code` (see `schemas.codes`); its unit goes on."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail[:200]


class ShardDamagedError(GroundswellError):
    """A whole shard cannot be read to its end; `code` is a shard code of `schemas.codes`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail[:500]
