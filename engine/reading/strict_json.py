"""JSON from strangers: standard numbers only, bounded in size and depth.

Promise: whatever the bytes, the answer is a value or SampleRejectedError("JSON_BAD"), in bounded memory and stack.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from schemas.errors import SampleRejectedError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32


def load_object(data: bytes) -> dict[str, Any]:
    """The JSON object in the bytes. Raises SampleRejectedError with JSON_BAD and the reason."""
    if len(data) > MAX_BYTES:
        raise SampleRejectedError("JSON_BAD", f"{len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
        if _depth(text) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SampleRejectedError("JSON_BAD", str(error)) from error
    if not isinstance(value, dict):
        raise SampleRejectedError("JSON_BAD", f"expected an object, found {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object names a field twice")
    return value


def _depth(text: str) -> int:
    """Deepest nesting of brackets outside strings; the parser itself would recurse that deep. 0 for few brackets."""
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
