"""An output's objects: read, put if absent, put, delete, list. One class over every filesystem.

Promise: a name holds a whole object or nothing, whatever dies in between, and `put_if_absent` has one winner. What only
looks (read, list, exists, size) is tried again in passing trouble; of a write, its caller knows what to do then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, open_filesystem, translate_store_errors
from engine.storage.local_files import TEMPORARY, create_file, replace_file
from engine.storage.retry import with_retries
from schemas.errors import NotFoundError

_IN_MEMORY = threading.Lock()  # memory:// lives in one process; its check and its write must be one step


class Store:
    """Objects under one root. Paths are relative to it, with forward slashes."""

    def __init__(self, url: str, storage: StorageSettings | None = None) -> None:
        self.url = absolute_url(url)
        self.storage = storage
        self._fs, self._root = open_filesystem(self.url, storage)

    @with_retries
    def read(self, path: str) -> bytes:
        """The object's bytes. Raises NotFoundError."""
        try:
            with translate_store_errors(self.url):
                return bytes(self._fs.cat_file(self._full(path)))
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.url}/{path} does not exist") from error

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create the object; True when this call created it, False when the name was taken.

        False may also mean that our own earlier try arrived and its answer was lost: the caller reads what stands
        and compares (docs/ledger.md, fact 1). Raises OSError when the outcome is unknown.
        """
        try:
            with translate_store_errors(self.url):
                self._create(self._full(path), data)
        except FileExistsError:
            return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """Write an object whose name is a digest of its bytes, so that writing it again changes nothing."""
        full = self._full(path)
        with translate_store_errors(self.url):
            if self.is_local:
                replace_file(full, data)
            else:
                self._fs.pipe_file(full, data)

    def delete(self, path: str) -> None:
        """Remove an object; one that is gone already is no error. Only what no record can name may be removed."""
        try:
            with translate_store_errors(self.url):
                self._fs.rm_file(self._full(path))
        except FileNotFoundError:
            return

    @with_retries
    def list_folder(self, prefix: str = "") -> list[str]:
        """Return the sorted names of what is directly under a folder; those of folders end in a slash."""
        full = self._full(prefix)
        with translate_store_errors(self.url):
            try:
                if self.is_local:
                    with os.scandir(full) as entries:
                        return sorted(entry.name + "/" * entry.is_dir() for entry in entries)
                found = self._fs.ls(full, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        below = f"{full.strip('/')}/".lstrip("/")  # empty at the root of a file system
        items = [(str(item["name"]).strip("/"), item["type"] == "directory") for item in found]
        return sorted(
            name[len(below) :] + "/" * is_folder for name, is_folder in items if name.startswith(below)
        )

    @with_retries
    def list(self, prefix: str) -> list[str]:
        """Sorted paths of the objects under a folder; temporary files are none."""
        root = self._full("")
        with translate_store_errors(self.url):
            found = self._fs.find(self._full(prefix))
        paths = (name[len(root) :].lstrip("/") for name in found if name.startswith(root))
        return sorted(path for path in paths if not os.path.basename(path).startswith(TEMPORARY))

    @with_retries
    def exists(self, path: str) -> bool:
        """Whether the object exists now."""
        with translate_store_errors(self.url):
            return bool(self._fs.exists(self._full(path)))

    @with_retries
    def size(self, path: str) -> int:
        """Bytes of the object. Raises NotFoundError."""
        try:
            with translate_store_errors(self.url):
                return int(self._fs.size(self._full(path)))
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.url}/{path} does not exist") from error

    @property
    def is_local(self) -> bool:
        """Whether objects are files of this machine."""
        return "://" not in self.url

    @property
    def root_folder(self) -> str:
        """The folder of a local store."""
        return self._root

    def _full(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise ValueError(f"{path!r} leaves the root of the output")
        return f"{self._root.rstrip('/')}/{path}".rstrip("/") or "/"

    def _create(self, full: str, data: bytes) -> None:
        if self.is_local:
            create_file(full, data)
        elif self.url.startswith("memory://"):
            _create_in_memory(self._fs, full, data)
        else:
            with _refusal_told():
                self._fs.pipe_file(full, data, mode="create")


def open_store(url: str, storage: StorageSettings | None = None) -> Store:
    """The store of an output URL: file, s3, gs or memory."""
    return Store(url, storage)


@contextmanager
def _refusal_told() -> Iterator[None]:
    """A store's 412 as FileExistsError: s3fs knows only the form in which AWS says it, with the condition's name."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        answer = getattr(error.__cause__, "response", None) or {}
        if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
            raise FileExistsError(str(error)) from error
        raise


def _create_in_memory(filesystem: Any, full: str, data: bytes) -> None:
    with _IN_MEMORY:
        if filesystem.isfile(full):  # `exists` would look through all names for a folder
            raise FileExistsError(full)
        filesystem.pipe_file(full, data)
