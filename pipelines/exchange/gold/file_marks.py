"""What the beginning of a file shows of its format, without reading the rest."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from schemas.errors import GroundswellError
from student.gold.json_stream import iter_fields, iter_lines

_HEAD_BYTES = 4096
_LINES = 5


def has_lists(path: Path, *names: str) -> bool:
    """Return whether a file is a JSON object whose fields have these names."""
    if not path.is_file() or not read_head(path).startswith("{"):
        return False
    seen: set[str] = set()
    try:
        for name, _ in iter_fields(path):
            seen.add(name)
            if seen.issuperset(names):
                return True
    except GroundswellError:
        pass
    return False


def has_spans(path: Path) -> bool:
    """Return whether the text of a file names `tokens_positive` anywhere."""
    with path.open("rb") as file:
        previous = b""
        while chunk := file.read(1 << 20):
            if b'"tokens_positive"' in previous + chunk:
                return True
            previous = chunk[-32:]
    return False


def has_objects_with(path: Path, *fields: str) -> bool:
    """Return whether the first lines of a file are JSON objects of which one has one of the fields."""
    if not path.is_file() or not read_head(path).startswith("{"):
        return False
    lines = [line for _, line in islice(iter_lines(path), _LINES)]
    return any(isinstance(line, dict) and not line.keys().isdisjoint(fields) for line in lines)


def read_head(path: Path) -> str:
    """Return the first characters of a file without a byte-order mark and blanks at the beginning."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).decode("utf-8-sig", "replace").lstrip()
