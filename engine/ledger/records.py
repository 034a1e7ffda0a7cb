"""Parse the JSON records of the ledger. A record that cannot be read is an error with its file and a remedy."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import ConflictError

R = TypeVar("R", bound=BaseModel)


def parse_record(kind: type[R], data: bytes, where: str, what: str, remedy: str) -> R:
    """Parse a record. Raises ConflictError as `unreadable_error` describes it."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise unreadable_error(where, what, error, remedy) from error


def unreadable_error(where: str, what: str, error: ValueError, remedy: str) -> ConflictError:
    """Build the error `<file> cannot be read as <what>: <first problem>; <remedy>`."""
    return ConflictError(f"{where} cannot be read as {what}: {first_problem(error)}; {remedy}")


def first_problem(error: ValueError) -> str:
    """Describe the first problem in one line, without values, which may be long or secret."""
    if not isinstance(error, ValidationError):
        return str(error).split("\n", 1)[0]
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else found["msg"]
