"""Where the shards of a job come from: files, or folders of images. Both are listed, versioned and fetched alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

from engine.reading.folders.discovery import find_folders
from engine.reading.folders.listing import find_root, list_folder
from engine.reading.folders.shard import FolderShard, summarize_files
from engine.reading.shard_cache import (
    ShardCache,
    ShardStat,
    changed_shard_error,
    stat_shard,
)
from engine.reading.shard_urls import expand_urls
from engine.reading.shards import Shard, open_shard
from engine.settings import InputSettings, ReadingSettings
from schemas.digests import file_sha256


class FetchedShard(Protocol):
    """A shard whose version was checked, and which can be read on this machine."""

    def open(self) -> Shard:
        """Open the shard. Raises ShardDamagedError."""
        ...

    def sha256(self) -> str:
        """Return the sha256 of all that is read of it, as 64 digits. Raises ShardDamagedError."""
        ...


class ShardSource(Protocol):
    """The shards of one kind of input.

    name: URL of the shard in the job, which rows and errors name; None: it has not moved since
    """

    def list_urls(self) -> list[str]:
        """Return every shard that the job names, as absolute URLs. Raises NotFoundError, ConfigError."""
        ...

    def stat(self, url: str, name: str | None = None) -> ShardStat:
        """Return size and version of a shard without reading it. Raises ShardDamagedError."""
        ...

    def fetch(self, stat: ShardStat, name: str | None = None) -> FetchedShard:
        """Make a shard readable. Raises ShardDamagedError INPUT_CHANGED if it has another version now."""
        ...

    def confirm(self, stat: ShardStat) -> None:
        """Raise ShardDamagedError INPUT_CHANGED if a shard that is read in place changed since it was fetched."""
        ...


def make_source(settings: InputSettings, cache: ShardCache | None = None) -> ShardSource:
    """Return the source of a job's shards."""
    if settings.format == "folder":
        return FolderSource(settings)
    return FileSource(settings, cache or ShardCache())


class FileSource:
    """Shards that are files: tar and Parquet."""

    def __init__(self, settings: InputSettings, cache: ShardCache) -> None:
        self._settings, self._cache = settings, cache

    def list_urls(self) -> list[str]:
        return expand_urls(self._settings.urls, self._settings.storage)

    def stat(self, url: str, name: str | None = None) -> ShardStat:
        return stat_shard(url, self._settings.storage)

    def fetch(self, stat: ShardStat, name: str | None = None) -> FetchedShard:
        path = self._cache.fetch(stat, self._settings.storage)
        return _FetchedFile(path, name or stat.url, self._settings.reading())

    def confirm(self, stat: ShardStat) -> None:
        self._cache.check_in_place(stat)


class _FetchedFile:
    def __init__(self, path: Path, url: str, reading: ReadingSettings) -> None:
        self._path, self._url, self._reading = path, url, reading

    def open(self) -> Shard:
        return open_shard(self._path, self._url, self._reading)

    def sha256(self) -> str:
        return file_sha256(self._path)


class FolderSource:
    """Shards that are folders of image files. They are read in place, also from a bucket."""

    def __init__(self, settings: InputSettings) -> None:
        self._settings, self._reading = settings, settings.reading()

    def list_urls(self) -> list[str]:
        return find_folders(
            self._settings.urls,
            frozenset(self._reading.image),
            lambda url: find_root(url, self._settings.urls),
            self._settings.storage,
        )

    def stat(self, url: str, name: str | None = None) -> ShardStat:
        return self._look(url, name)[0]

    def fetch(self, stat: ShardStat, name: str | None = None) -> FetchedShard:
        now, open_now = self._look(stat.url, name)
        if now != stat:
            raise changed_shard_error(stat, now)
        return _FetchedFolder(open_now)

    def confirm(self, stat: ShardStat) -> None:
        self.fetch(stat)

    def _look(self, url: str, name: str | None) -> tuple[ShardStat, Callable[[], FolderShard]]:
        """List a folder. Return its state, and how to open it as it is listed."""
        root = _move_root(find_root(name or url, self._settings.urls), name or url, url)
        listing = list_folder(url, root, self._settings.storage)
        size_bytes, version = summarize_files(listing, self._reading)
        stat = ShardStat(url, size_bytes, f"files={version}")
        return stat, lambda: FolderShard(name or url, listing, self._reading, self._settings.storage)


class _FetchedFolder:
    def __init__(self, open_shard: Callable[[], FolderShard]) -> None:
        self._open = open_shard

    @cached_property
    def _shard(self) -> FolderShard:
        return self._open()

    def open(self) -> Shard:
        return self._shard

    def sha256(self) -> str:
        return self._shard.sha256()


def _move_root(root: str, name: str, url: str) -> str:
    """Return where the root of a shard is now, if the shard moved from `name` to `url`."""
    below = name[len(root) :]
    return url[: len(url) - len(below)] if url.endswith(below) else url
