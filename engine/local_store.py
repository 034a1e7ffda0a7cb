"""A folder as a store, behind the calls of `engine.storage`; leaves when that module stands."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from schemas.errors import NotFound


class Store:
    """Bytes under relative paths of one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"{self.root / path} does not exist") from error

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def put(self, path: str, data: bytes) -> None:
        target = self.root / path
        os.replace(self._spool(target, data), target)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        target = self.root / path
        spooled = self._spool(target, data)
        try:
            os.link(spooled, target)
        except FileExistsError:
            return False
        finally:
            os.unlink(spooled)
        return True

    def _spool(self, target: Path, data: bytes) -> str:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return name


def open_store(url: str, storage: object = None) -> Store:
    return Store(Path(url.removeprefix("file://")))
