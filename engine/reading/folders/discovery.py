"""Find the folders with images that a job names: each is a shard. Folders inside a named folder are found, too."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence

from engine.reading.folders.listing import FolderListing, escape_name, is_url_name, list_folder
from engine.reading.shard_urls import MAX_URLS, expand_patterns, has_wildcard
from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, check_shard_url, open_filesystem, translate_store_errors
from engine.storage.retry import with_retries
from schemas.errors import ConfigError, NotFoundError, ShardDamagedError

log = logging.getLogger(__name__)
_OTHER_IMAGES = frozenset(
    ("avif", "bmp", "gif", "heic", "jp2", "jpeg", "jpg", "jxl", "png", "tif", "tiff", "webp")
)
"""Suffixes of image files that are probably not meant to be left out."""


def find_folders(
    patterns: Sequence[str],
    suffixes: Collection[str],
    find_root: Callable[[str], str],
    storage: StorageSettings | None = None,
) -> list[str]:
    """Return the URL of each folder that has an image, sorted below each named folder.

    suffixes:  of images, in lower case
    find_root: returns the folder that links inside a folder must not leave
    raises:    NotFoundError for a named folder that does not exist or has no image, ConfigError for a wrong name
    """
    search = _FolderSearch(suffixes, find_root, storage)
    urls: dict[str, None] = {}
    for pattern in expand_patterns(patterns, storage):
        for url in _match_folders(pattern, storage):
            found = list(search.walk(url))
            if not found:
                names = ", ".join(f".{suffix}" for suffix in sorted(suffixes))
                raise NotFoundError(
                    f"input.urls: no image below {url}; expected files that end in {names}; name another folder, or "
                    "set input.image to the suffixes of your images"
                )
            urls.update(dict.fromkeys(found))
        if len(urls) > MAX_URLS:
            raise ConfigError(f"input.urls names more than {MAX_URLS} folders; split the job")
    search.report_left_out()
    return list(urls)


class _FolderSearch:
    """A walk through folders, which counts image files of other suffixes."""

    def __init__(
        self, suffixes: Collection[str], find_root: Callable[[str], str], storage: StorageSettings | None
    ) -> None:
        self._suffixes, self._find_root, self._storage = suffixes, find_root, storage
        self._left_out: dict[str, str] = {}
        self._num_left_out = 0

    def walk(self, top: str) -> Iterator[str]:
        """Yield each folder with an image, and each linked folder outside of the input, which cannot be read."""
        waiting = [top]
        while waiting:
            url = waiting.pop()
            listing = self._list(url, is_top=url == top)
            if listing is None:
                continue
            if self._has_image(listing):
                yield check_shard_url(url)
            yield from (check_shard_url(_join(url, name)) for name in listing.leaving)
            waiting += [_join(url, name) for name in reversed(listing.folders)]

    def report_left_out(self) -> None:
        """Warn of images whose suffix the job does not name."""
        if self._num_left_out:
            examples = ", ".join(list(self._left_out.values())[:3])
            log.warning(
                "%d image files are left out, e.g. %s: input.image has no %s",
                self._num_left_out,
                examples,
                ", ".join(sorted(self._left_out)),
            )

    def _list(self, url: str, *, is_top: bool) -> FolderListing | None:
        """Return the listing; None for a folder that was deleted since it was found."""
        try:
            return list_folder(absolute_url(url), self._find_root(url), self._storage)
        except ShardDamagedError as damage:
            if damage.code == "SHARD_LIMIT":
                raise ConfigError(f"input.urls: {damage.detail}") from damage
            if is_top:
                raise NotFoundError(f"input.urls: {damage.detail}; name a folder of images") from damage
            return None

    def _has_image(self, listing: FolderListing) -> bool:
        has_image = False
        for file in listing.files:
            suffix = suffix_of(file.name)
            has_image = has_image or suffix in self._suffixes
            if suffix in _OTHER_IMAGES and suffix not in self._suffixes:
                self._left_out.setdefault(f".{suffix}", f"{listing.url}/{file.name}")
                self._num_left_out += 1
        return has_image


def suffix_of(name: str) -> str:
    """Return the part behind the last dot, in lower case; "" without one."""
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if stem and dot else ""


def _join(url: str, name: str) -> str:
    if not is_url_name(name):
        raise ConfigError(
            f"input.urls: the folder {escape_name(name)!r} in {url} has a control character, '::' or bytes that are "
            "not UTF-8 in its name; rename it"
        )
    return f"{url.rstrip('/')}/{name}"


def _match_folders(pattern: str, storage: StorageSettings | None) -> list[str]:
    """Return the folders that a pattern names. A folder whose name has wildcards is found by it."""
    url = absolute_url(pattern)
    if not has_wildcard(pattern) or _is_folder(url, storage):
        return [url]
    return _glob_folders(url, storage)


@with_retries
def _is_folder(url: str, storage: StorageSettings | None) -> bool:
    filesystem, path = open_filesystem(url, storage)
    with translate_store_errors(url):
        return bool(filesystem.isdir(path))


@with_retries
def _glob_folders(url: str, storage: StorageSettings | None) -> list[str]:
    filesystem, path = open_filesystem(url, storage)
    protocol = url.split("://", 1)[0] + "://" if "://" in url else ""
    with translate_store_errors(url):
        found = filesystem.glob(path, detail=True)
    # the entry of a local link does not say what it leads to
    names = sorted(
        name
        for name, info in found.items()
        if info["type"] == "directory" or (not protocol and os.path.isdir(name))
    )
    if not names:
        raise NotFoundError(f"input.urls: no folder matches {url}")
    return [absolute_url(protocol + name.lstrip("/") if protocol else name) for name in names]
