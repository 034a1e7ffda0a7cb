"""Read many images fast: local files stay open, so an image costs one `pread`.

The bytes are those of `read_pixels`, which reads everything that is not a range of a local file.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping

from engine.reading.pixels import read_pixels, rebase_url
from engine.reading.shards import MAX_MEMBER_BYTES
from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from schemas.errors import NotFoundError
from schemas.rows import PixelsRow

_OPEN_FILES = 64


class _OpenFile:
    """A file that is closed with its last reference."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class RangeReader:
    """Reads the `pixels` of rows, from any thread."""

    def __init__(
        self, roots: Mapping[str, str] | None = None, storage: StorageSettings | None = None
    ) -> None:
        self._roots, self._storage = dict(roots or {}), storage
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, pixels: PixelsRow) -> bytes:
        """Return the stored image bytes. Raises NotFoundError if the file or the range does not exist."""
        offset, length = pixels.get("offset"), pixels.get("length")
        if offset is None or length is None or "://" in (path := self._path(pixels["url"])):
            return read_pixels(pixels, self._roots, self._storage)
        if offset < 0 or length > MAX_MEMBER_BYTES:
            raise NotFoundError(
                f"{path}: invalid image range of {length} bytes at {offset} (at most {MAX_MEMBER_BYTES} bytes are "
                "allowed); write the view again"
            )
        file = self._file(path)
        data = os.pread(file.number, length, offset)
        if len(data) != length:
            raise NotFoundError(
                f"{path}: {len(data)} of {length} bytes at {offset}; the shard differs from the one that was labeled"
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
                self._files[path] = _open(path)
                if len(self._files) > _OPEN_FILES:
                    self._files.popitem(last=False)
            self._files.move_to_end(path)
            return self._files[path]


def _open(path: str) -> _OpenFile:
    try:
        return _OpenFile(path)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path} does not exist; if the shards moved, give their new location in `roots`"
        ) from error
