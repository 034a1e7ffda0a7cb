"""The objects of an output: read, put if absent, put, delete, list. One class for every filesystem.

A name has a whole object or nothing, even if a process dies in between, and `put_if_absent` has one winner. Calls that
only look (read, list, exists, size) are retried on transient errors. The caller decides whether a write is retried.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fsspec import AbstractFileSystem

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, open_filesystem, translate_store_errors
from engine.storage.local_files import TEMPORARY, create_file, replace_file
from engine.storage.retry import with_retries
from schemas.errors import NotFoundError

_IN_MEMORY = threading.Lock()  # memory:// is in one process; its check and its write must be one step


class Store:
    """Objects under one root. Paths are relative to the root, with forward slashes."""

    def __init__(self, url: str, storage: StorageSettings | None = None) -> None:
        self.url = absolute_url(url)
        self.storage = storage
        self._fs, self._root = open_filesystem(self.url, storage)

    @with_retries
    def read(self, path: str) -> bytes:
        """Return the object's bytes. Raises NotFoundError."""
        try:
            with translate_store_errors(self.url):
                return bytes(self._fs.cat_file(self._full(path)))
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.url}/{path} does not exist") from error

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create the object. Return True if this call created it, False if the name exists.

        False may also mean that our own earlier try succeeded and its answer was lost. So the caller reads the object
        and compares (docs/ledger.md, fact 1). Raises OSError if the outcome is unknown.
        """
        try:
            with translate_store_errors(self.url):
                self._create(self._full(path), data)
        except FileExistsError:
            return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """Write an object, in place of an existing one.

        Where several processes may write, the name has a digest of the bytes, so that writing it again changes nothing.
        """
        full = self._full(path)
        with translate_store_errors(self.url):
            if self.is_local:
                replace_file(full, data)
            else:
                self._fs.pipe_file(full, data)

    def delete(self, path: str) -> None:
        """Remove an object; a missing one is not an error. Only remove what no record can name."""
        try:
            with translate_store_errors(self.url):
                self._fs.rm_file(self._full(path))
        except FileNotFoundError:
            return

    @with_retries
    def list_folder(self, prefix: str = "") -> list[str]:
        """Return the sorted names directly under a folder; names of folders end in a slash."""
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
        """Return the sorted paths of the objects under a folder, without temporary files."""
        root = self._full("")
        with translate_store_errors(self.url):
            found = self._fs.find(self._full(prefix))
        paths = (name[len(root) :].lstrip("/") for name in found if name.startswith(root))
        return sorted(path for path in paths if not os.path.basename(path).startswith(TEMPORARY))

    @with_retries
    def exists(self, path: str) -> bool:
        """Return whether the object exists now."""
        with translate_store_errors(self.url):
            return bool(self._fs.exists(self._full(path)))

    @with_retries
    def size(self, path: str) -> int:
        """Return the object's size in bytes. Raises NotFoundError."""
        try:
            with translate_store_errors(self.url):
                return int(self._fs.size(self._full(path)))
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.url}/{path} does not exist") from error

    @property
    def is_local(self) -> bool:
        """Whether the objects are files of this machine."""
        return "://" not in self.url

    @property
    def root_folder(self) -> str:
        """The folder of a local store."""
        return self._root

    def _full(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise ValueError(f"{path!r} leaves the root of the output; expected a relative path without '..'")
        return f"{self._root.rstrip('/')}/{path}".rstrip("/") or "/"

    def _create(self, full: str, data: bytes) -> None:
        if self.is_local:
            create_file(full, data)
        elif self.url.startswith("memory://"):
            _create_in_memory(self._fs, full, data)
        else:
            with _translate_precondition_failure():
                self._fs.pipe_file(full, data, mode="create")


def open_store(url: str, storage: StorageSettings | None = None) -> Store:
    """Open the store of a URL: file, s3, gs or memory."""
    return Store(url, storage)


@contextmanager
def _translate_precondition_failure() -> Iterator[None]:
    """Translate a store's 412 to FileExistsError; s3fs only recognizes the form that AWS sends."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        answer = getattr(error.__cause__, "response", None) or {}
        if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
            raise FileExistsError(str(error)) from error
        raise


def _create_in_memory(filesystem: AbstractFileSystem, full: str, data: bytes) -> None:
    with _IN_MEMORY:
        if filesystem.isfile(full):  # `exists` would look through all names for a folder
            raise FileExistsError(full)
        filesystem.pipe_file(full, data)
