"""A mistake for real processes: local files that are created under their final name and filled afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from engine.storage import store


@contextmanager
def records_created_in_place() -> Iterator[None]:
    """Use `open(path, "xb")` instead of a synced temporary file and a link."""
    with patch.object(store, "create_file", _create_in_place):
        yield


def _create_in_place(full: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "xb") as file:
        file.write(data)
