"""Image bytes by the thousand: local files stay open, so that an image costs one `pread`.

Promise: the bytes are those that `read_pixels` gives; whatever is not a range of a local file goes there.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from engine.reading.pixels import read_pixels, rebase_url
from engine.reading.shards import MAX_MEMBER_BYTES
from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from schemas.errors import NotFoundError

_OPEN_FILES = 64


class _OpenFile:
    """A file that closes when the last reader lets go of it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class RangeReader:
    """Reads `pixels` of rows, from any thread."""

    def __init__(
        self, roots: Mapping[str, str] | None = None, storage: StorageSettings | None = None
    ) -> None:
        self._roots, self._storage = dict(roots or {}), storage
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, pixels: Mapping[str, Any]) -> bytes:
        """The stored image bytes. Raises NotFoundError when the file or the range is not there."""
        offset, length = pixels.get("offset"), pixels.get("length")
        if offset is None or length is None or "://" in (path := self._path(pixels["url"])):
            return read_pixels(pixels, self._roots, self._storage)
        if offset < 0 or length > MAX_MEMBER_BYTES:
            raise NotFoundError(
                f"{path}: {length} bytes at {offset} are no image's place (at most {MAX_MEMBER_BYTES} bytes); "
                "write the view again"
            )
        file = self._file(path)
        data = os.pread(file.number, length, offset)
        if len(data) != length:
            raise NotFoundError(
                f"{path}: {len(data)} of {length} bytes at {offset}; the shard is not the one labelled"
            )
        return data

    def _path(self, url: str) -> str:
        with self._lock:
            if url not in self._paths:
                self._paths[url] = absolute_url(rebase_url(url, self._roots))
                if len(self._paths) > _OPEN_FILES:
                    self._paths.popitem(last=False)
            return self._paths[url]

    def _file(self, path: str) -> _OpenFile:
        with self._lock:
            if path not in self._files:
                self._files[path] = _opened(path)
                if len(self._files) > _OPEN_FILES:
                    self._files.popitem(last=False)
            self._files.move_to_end(path)
            return self._files[path]


def _opened(path: str) -> _OpenFile:
    try:
        return _OpenFile(path)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path} does not exist; if the shards moved, name their new place in `roots`"
        ) from error
