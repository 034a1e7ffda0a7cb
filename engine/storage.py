"""An output's objects: read, put if absent, put, list. One class over every filesystem.

Promise: a name holds a whole object or nothing, whatever dies in between, and `put_if_absent` has one winner.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from typing import Any

from engine.filesystems import absolute_url, open_filesystem, reaching
from engine.settings import StorageSettings
from schemas.errors import EnvironmentProblem, NotFound

TEMPORARY = ".tmp-"


class Store:
    """Objects under one root. Paths are relative to it, with forward slashes."""

    def __init__(self, url: str, storage: StorageSettings | None = None) -> None:
        self.url = absolute_url(url)
        self.storage = storage
        self._fs, self._root = open_filesystem(self.url, storage)

    def read(self, path: str) -> bytes:
        """The object's bytes. Raises NotFound."""
        try:
            with reaching(self.url):
                return bytes(self._fs.cat_file(self._full(path)))
        except FileNotFoundError as error:
            raise NotFound(f"{self.url}/{path} does not exist") from error

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create the object; True when this call created it, False when the name was taken.

        False may also mean that our own earlier try arrived and its answer was lost: the caller reads what stands
        and compares (docs/ledger.md, fact 1). Raises OSError when the outcome is unknown.
        """
        try:
            with reaching(self.url):
                self._create(self._full(path), data)
        except FileExistsError:
            return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """Write an object whose name is a digest of its bytes, so that writing it again changes nothing."""
        full = self._full(path)
        with reaching(self.url):
            if self.is_local:
                _replace_local(full, data)
            else:
                self._fs.pipe_file(full, data)

    def list(self, prefix: str) -> list[str]:
        """Sorted paths of the objects under a folder; temporary files are none."""
        root = self._full("")
        with reaching(self.url):
            found = self._fs.find(self._full(prefix))
        paths = (name[len(root) :].lstrip("/") for name in found if name.startswith(root))
        return sorted(path for path in paths if not os.path.basename(path).startswith(TEMPORARY))

    def exists(self, path: str) -> bool:
        """Whether the object exists now."""
        with reaching(self.url):
            return bool(self._fs.exists(self._full(path)))

    def size(self, path: str) -> int:
        """Bytes of the object. Raises NotFound."""
        try:
            with reaching(self.url):
                return int(self._fs.size(self._full(path)))
        except FileNotFoundError as error:
            raise NotFound(f"{self.url}/{path} does not exist") from error

    @property
    def is_local(self) -> bool:
        """Whether objects are files of this machine."""
        return "://" not in self.url

    def _full(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise ValueError(f"{path!r} leaves the root of the output")
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")

    def _create(self, full: str, data: bytes) -> None:
        if self.is_local:
            _create_local(full, data)
        elif self.url.startswith("memory://"):
            _create_in_memory(self._fs, full, data)
        else:
            self._fs.pipe_file(full, data, mode="create")


def open_store(url: str, storage: StorageSettings | None = None) -> Store:
    """The store of an output URL: file, s3, gs or memory."""
    return Store(url, storage)


def _replace_local(full: str, data: bytes) -> None:
    temporary = _write_temporary(full, data)
    try:
        os.replace(temporary, full)
    except OSError:  # a folder stands there
        os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(full))


def _create_local(full: str, data: bytes) -> None:
    # open(path, "xb") is exclusive, but a crash between open and write leaves a broken record for ever
    temporary = _write_temporary(full, data)
    try:
        os.link(temporary, full)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise EnvironmentProblem(
                f"{os.path.dirname(full)}: this file system has no hard links, so a record cannot be created by "
                "one writer alone; choose another disk for output.url"
            ) from error
        raise
    finally:
        os.unlink(temporary)
    _sync_folder(os.path.dirname(full))


def _create_in_memory(filesystem: Any, full: str, data: bytes) -> None:
    if filesystem.exists(full):
        raise FileExistsError(full)
    filesystem.pipe_file(full, data)


def _write_temporary(full: str, data: bytes) -> str:
    folder = os.path.dirname(full)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")
    mode = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
