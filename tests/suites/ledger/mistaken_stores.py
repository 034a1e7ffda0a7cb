"""Stores that behave as a mistaken protocol would, for the mistakes of `mutants.py`."""

from __future__ import annotations

from engine.storage.store import Store
from schemas.errors import NotFoundError
from schemas.ledger import CommitRecord


class Everything(frozenset[str]):
    """A set that contains everything."""

    def __contains__(self, path: object) -> bool:
        return True


class Wrapped(Store):
    """A store that passes every call on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.url, self.storage = store.url, store.storage

    def read(self, path: str) -> bytes:
        return self._store.read(path)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self._store.put_if_absent(path, data)

    def put(self, path: str, data: bytes) -> None:
        self._store.put(path, data)

    def size(self, path: str) -> int:
        return self._store.size(path)

    def list(self, prefix: str) -> list[str]:
        return self._store.list(prefix)


class Renaming(Wrapped):
    """Puts everything under one name of a folder."""

    def __init__(self, store: Store, folder: str) -> None:
        super().__init__(store)
        self._path = f"{folder}/part.parquet"

    def put(self, path: str, data: bytes) -> None:
        self._store.put(self._path, data)

    def size(self, path: str) -> int:
        return self._store.size(self._path)


class DataLater(Wrapped):
    """Delays puts under a prefix until it is flushed."""

    def __init__(self, store: Store, prefix: str = "") -> None:
        super().__init__(store)
        self._held: dict[str, bytes] = {}
        self._prefix = prefix

    def put(self, path: str, data: bytes) -> None:
        if path.startswith(self._prefix):
            self._held[path] = data
        else:
            self._store.put(path, data)

    def read(self, path: str) -> bytes:
        return self._held[path] if path in self._held else self._store.read(path)

    def size(self, path: str) -> int:
        return len(self._held[path]) if path in self._held else self._store.size(path)

    def flush(self) -> None:
        for path, data in self._held.items():
            self._store.put(path, data)


class Pending(Wrapped):
    """Creates a commit by moving a pending one, as object stores do: copy, then delete."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        pending = path.replace("commits/", "pending/")
        self._store.put(pending, data)
        if self._store.exists(path):
            self._store.delete(pending)
            return False
        self._store.put(path, data)
        self._store.delete(pending)
        return True


def remove_pending(store: Store) -> None:
    """Treat pending commits as dead: remove what they name."""
    for path in store.list("pending"):
        try:
            record = CommitRecord.model_validate_json(store.read(path))
        except NotFoundError:
            continue
        store.delete(record.evidence.path)
        store.delete(path)
