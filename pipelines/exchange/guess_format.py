"""The format of labels that a file or folder looks like, to say so. It is never used in place of a stated one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.exchange.importers import IMPORTERS
from schemas.errors import GroundswellError, NotFoundError


def guess_format(path: Path) -> str | None:
    """Return the built-in format that a file or folder looks like, None if it looks like none or several.

    Raises NotFoundError.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; correct the path")
    entries = {name: IMPORTERS.load(name) for name in IMPORTERS.names() if IMPORTERS.is_built_in(name)}
    found = [name for name, entry in entries.items() if entry.recognize is not None and entry.recognize(path)]
    return found[0] if len(found) == 1 else None


@contextmanager
def name_likely_format(format: str, path: Path) -> Iterator[None]:
    """Add to an error's message the format that the file looks like, if it is another than the stated one."""
    try:
        yield
    except GroundswellError as error:
        likely = guess_format(path)
        if likely is not None and likely != format:
            error.args = (f"{error}. The file looks like {likely}: give that format", *error.args[1:])
        raise
