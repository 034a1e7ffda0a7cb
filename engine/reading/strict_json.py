"""Parse untrusted JSON: standard numbers only, bounded in size and depth.

For any bytes, the result is a value or SampleRejectedError("JSON_BAD"), with bounded memory and stack.
"""

from __future__ import annotations

import json
from typing import NoReturn

from pydantic import JsonValue

from schemas.errors import SampleRejectedError

# Details are stored in the rows of rejected samples, which the digest of a unit covers, so their texts must not change.
MAX_BYTES = 1_000_000
MAX_DEPTH = 32


def load_object(data: bytes) -> dict[str, JsonValue]:
    """Parse a JSON object. Raises SampleRejectedError with JSON_BAD and the reason."""
    if len(data) > MAX_BYTES:
        raise SampleRejectedError("JSON_BAD", f"{len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
        if _depth(text) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError) as error:
        raise SampleRejectedError("JSON_BAD", str(error)) from error
    if not isinstance(value, dict):
        raise SampleRejectedError("JSON_BAD", f"expected an object, found {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def unique_fields(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Build an object, as an `object_pairs_hook`. Raises ValueError if a field occurs twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object names a field twice")
    return value


def _depth(text: str) -> int:
    """Return the deepest nesting of brackets outside strings, which is the recursion depth of the parser.

    It is 0 if there are few brackets.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    deepest = depth = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest
