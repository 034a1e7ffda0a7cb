"""The image files of gold below one root, local or remote: in a folder, or behind a pattern of `--images`.

Promise: no file outside the root is read, whatever a name or a link says.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from engine.storage.filesystems import absolute_url, translate_store_errors
from engine.storage.store import Store, open_store
from schemas.errors import ConfigError, NotFoundError
from student.gold.account import RecordError
from student.gold.images.names import FileNames, ImageName, NameClaims, check_file_name, list_some, parse_name

FIELDS = ("file_name", "stem", "data_source", "split")
_NAMING_FIELDS = ("{file_name}", "{stem}")
# of this name alone: another image's may be good
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)

Found = TypeVar("Found")


class ImageFiles:
    """Files below the root of `--images`.

    In a folder, a name that is not found is tried without its first folders: data sets are packed as `train2017/1.jpg`
    and unpacked to `1.jpg`. Then the files below the folder are listed, once, and the name is looked for by its last
    parts (FileNames). A pattern says where the image is, so nothing else is tried.
    """

    def __init__(self, source: str) -> None:
        """Open the root of a folder, URL or pattern. Raises ConfigError for a bad pattern, NotFoundError."""
        _check_pattern(source)
        self._source = source
        folders: list[str] = []
        for part in source.split("/"):
            if "{" in part:
                break
            folders.append(part)
        root = "/".join(folders) or ("/" if source.startswith("/") else ".")
        self._pattern = "/".join(source.split("/")[len(folders) :])
        self.url = absolute_url(root)
        self._store: Store = open_store(root)
        if self._store.is_local and not Path(self.url).is_dir():
            raise NotFoundError(f"--images {source}: {self.url} is not a folder; correct the path")
        self._claims = NameClaims()

    @property
    def problems(self) -> list[str]:
        """Files that two names of the gold found by their last part alone."""
        return [f"--images {self._source}: {problem}" for problem in self._claims.problems.values()]

    def find(
        self, file_name: str, record: Mapping[str, object], look: Callable[[str], Found | None]
    ) -> tuple[Found, bool]:
        """Return what `look` returns for the path of an image below the root, and whether its name was looked for.

        record: the image's record, for the fields of a pattern
        look:   returns None for a path without a file, as `read` does
        Raises RecordError image_missing, image_ambiguous, image_outside, file_name_unsafe.
        """
        name = parse_name(file_name)
        paths = list(self._list_paths(name, record))
        for path in paths:
            if (found := look(path)) is not None:
                if self._pattern and "{file_name}" not in self._pattern:
                    self._claims.claim(path, name)
                return found, False
        if self._pattern:
            raise RecordError("image_missing", f"{file_name}: no {list_some(paths)} in {self.url}")
        return self._find_listed(name, look), True

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file below the root, None if there is none. Raises RecordError image_outside."""
        if self._store.is_local and not self._is_file(path):
            return None
        try:
            return self._store.read(path)
        except (NotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return None

    def _list_paths(self, name: ImageName, record: Mapping[str, object]) -> Iterator[str]:
        """Yield the paths that the name says."""
        if self._pattern:
            yield from self._fill_pattern(name, record)
            return
        name.check_inside()
        if not name.is_foreign:
            yield from name.tails()
        elif name.parts[: len(self._root_parts)] == self._root_parts:
            yield "/".join(name.parts[len(self._root_parts) :])

    def _fill_pattern(self, name: ImageName, record: Mapping[str, object]) -> Iterator[str]:
        has_path = "{file_name}" in self._pattern
        if has_path:
            name.check_inside()
        for file_name in name.tails() if has_path and name.is_foreign else ["/".join(name.parts)]:
            for stem in name.stems if "{stem}" in self._pattern else [""]:
                values = {field: str(record.get(field, "")) for field in FIELDS}
                yield fill_pattern(self._pattern, {**values, "file_name": file_name, "stem": stem})

    def _find_listed(self, name: ImageName, look: Callable[[str], Found | None]) -> Found:
        """Return what `look` returns for the only file below the root that the name may mean."""
        paths = self._file_names.find(name)
        if len(paths) > 1 and len({self._real_path(path) for path in paths}) > 1:
            raise RecordError("image_ambiguous", f"{name.text}: {list_some(paths)}")
        found = look(paths[0]) if paths else None
        if found is None:
            raise RecordError("image_missing", name.text)
        self._claims.claim(paths[0], name)
        return found

    @cached_property
    def _file_names(self) -> FileNames:
        paths = self._list_local() if self._store.is_local else self._store.list("")
        shown = (path for path in sorted(paths) if not re.search(r"(^|/)\.", path))
        return FileNames(shown, root=self.url.rpartition("/")[2])

    def _list_local(self) -> Iterable[str]:
        for folder, _, names in os.walk(self.url):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), self.url)
                if not os.path.islink(os.path.join(folder, name)) or self._is_inside(path):
                    yield path

    @cached_property
    def _root_parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.url.split("://")[-1].split("/") if part)

    @cached_property
    def _real_root(self) -> str:
        return os.path.realpath(self.url)

    def _real_path(self, path: str) -> str:
        return os.path.realpath(os.path.join(self.url, path)) if self._store.is_local else path

    def _is_inside(self, path: str) -> bool:
        """Return whether a local path leads to a place below the root."""
        return os.path.commonpath([self._real_root, self._real_path(path)]) == self._real_root

    def _is_file(self, path: str) -> bool:
        """Return whether a local path is a file. Raises RecordError image_outside for a link out of the root."""
        try:
            with translate_store_errors(self.url):
                is_file = stat.S_ISREG(os.stat(os.path.join(self.url, path)).st_mode)
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return False
        if not is_file:
            return False
        if not self._is_inside(path):
            raise RecordError("image_outside", f"{path} is a link to {self._real_path(path)}")
        return True


def fill_pattern(pattern: str, values: Mapping[str, str]) -> str:
    """Return the path of a pattern. Raises RecordError file_name_unsafe for one that would leave the root."""
    fields = re.compile("|".join(re.escape("{" + field + "}") for field in values))
    return check_file_name(fields.sub(lambda match: values[match.group()[1:-1]], pattern))


def _check_pattern(source: str) -> None:
    """Raise ConfigError for an empty source, and for a pattern that no record fills or that names no image."""
    fields = re.findall(r"\{(.*?)\}", source)
    unknown = [name for name in fields if name not in FIELDS]
    expected = ", ".join("{" + name + "}" for name in FIELDS)
    if unknown or not source:
        found = "{" + unknown[0] + "} is unknown" if unknown else "is empty"
        raise ConfigError(
            f"--images {source!r}: {found}; expected a folder, shards (*.tar) or a pattern of {expected}"
        )
    if fields and not any(field in source for field in _NAMING_FIELDS):
        raise ConfigError(
            f"--images {source!r}: has the same path for several images; expected {' or '.join(_NAMING_FIELDS)} in it"
        )
