"""Records read back: JSON of the ledger becomes what it says it is, or a conflict that a person can act on.

Promise: what cannot be read is named by its file, with what is wrong and what to do; nothing of it is guessed.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import ConflictError

R = TypeVar("R", bound=BaseModel)


def parse_record(kind: type[R], data: bytes, where: str, what: str, remedy: str) -> R:
    """The record that JSON bytes hold. Raises ConflictError, by `unreadable`."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise unreadable_error(where, what, error, remedy) from error


def unreadable_error(where: str, what: str, error: ValueError, remedy: str) -> ConflictError:
    """`<file> cannot be read as <what>: <first problem>; <remedy>`."""
    return ConflictError(f"{where} cannot be read as {what}: {first_problem(error)}; {remedy}")


def first_problem(error: ValueError) -> str:
    """The first thing that is wrong, in a line; without the values, which may be long or secret."""
    if not isinstance(error, ValidationError):
        return str(error).split("\n", 1)[0]
    found: Any = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else str(found["msg"])
