"""The size of an image as a record states it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from student.gold.account import RecordError
from student.gold.boxes import is_number


def read_size(record: Mapping[str, JsonValue], repairs: set[str]) -> tuple[int, int] | None:
    """Return (width, height) in pixels; None if the record has no size, or null.

    repairs: gets `number_form` for a size written as text
    Raises RecordError size_bad.
    """
    sides = [record.get(name) for name in ("width", "height")]
    if None in sides:
        return None
    width, height = (parse_side(side, repairs) for side in sides)
    return width, height


def parse_side(value: JsonValue, repairs: set[str] | None = None) -> int:
    """Return a side of an image in pixels. Raises RecordError size_bad."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal() and len(value) < 9:
        value = int(value)
        if repairs is not None:
            repairs.add("number_form")
    if not is_number(value) or value != int(value) or not 0 < value <= 1_000_000:
        raise RecordError("size_bad", f"{value!r}")
    return int(value)
