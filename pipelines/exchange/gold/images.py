"""The images of gold: in a folder, behind a pattern, or in tar shards. Each is read once.

Digest, size and orientation are those of the stored bytes. A name that leaves the folder is refused.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydantic import JsonValue

from engine.reading.formats.tar import Member, read_members
from engine.reading.images import decode_image
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.reading.shard_urls import expand_urls
from engine.reading.user_text import read_key_map
from engine.storage.filesystems import absolute_url
from engine.storage.store import Store, open_store
from schemas.digests import sha256_hex
from schemas.errors import ConfigError, NotFoundError, SampleRejectedError
from schemas.rows import PixelsRow
from student.gold.account import RecordError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_FIELDS = ("file_name", "stem", "data_source", "split")
_REMEMBERED = 4096
_NO_FILE = (errno.ENAMETOOLONG, errno.ELOOP)  # of this name alone: another image's may be good


@dataclass(frozen=True)
class StoredImage:
    """Where an image's bytes are, as in a view's `pixels`, and what they contain."""

    pixels: PixelsRow
    sha256: str
    width: int
    height: int
    stored_width: int
    stored_height: int
    exif_orientation: int


class ImageSource(Protocol):
    """Finds images by the names that gold gives them."""

    url: str

    def find(self, file_name: str, record: Mapping[str, JsonValue]) -> StoredImage:
        """Return the image. Raises RecordError image_missing, image_bad or file_name_unsafe."""
        ...


def open_images(source: str, key_map: Path | None = None) -> ImageSource:
    """Open the images of `--images`.

    source:  a folder or URL; a pattern with {file_name}, {stem}, {data_source} or {split}; tar shards (glob or braces)
    key_map: for shards, a CSV file with the columns shard, key and file_name. Without it, names are KEY.jpg or
             SHARD/KEY
    """
    if source.endswith(".tar"):
        return ShardImages(source, key_map)
    if key_map is not None:
        raise ConfigError(f"--key-map needs tar shards, --images is {source}")
    return FolderImages(source)


class FolderImages:
    """Files under a folder.

    A name that is not found is tried without its first folders: data sets are packed as `train2017/1.jpg` and unpacked
    to `1.jpg`.
    """

    def __init__(self, source: str) -> None:
        _check_pattern(source)
        folders = []
        for part in source.split("/"):
            if "{" in part:
                break
            folders.append(part)
        root = "/".join(folders) or ("/" if source.startswith("/") else ".")
        self._pattern = "/".join(source.split("/")[len(folders) :])
        self.url = absolute_url(root)
        self._store: Store = open_store(root)
        if self._store.is_local and not Path(self.url).is_dir():
            raise NotFoundError(f"--images {source}: {self.url} is not a folder")
        self._look = lru_cache(_REMEMBERED)(self._read)

    def find(self, file_name: str, record: Mapping[str, JsonValue]) -> StoredImage:
        """Return the image, see ImageSource."""
        for name in self._names(check_file_name(file_name), record):
            if found := self._look(name):
                return found
        raise RecordError("image_missing", file_name)

    def _names(self, file_name: str, record: Mapping[str, JsonValue]) -> list[str]:
        if self._pattern:
            values = {**{name: str(record.get(name, "")) for name in _FIELDS}, "file_name": file_name}
            values["stem"] = PurePosixPath(file_name).stem
            name = self._pattern
            for field, value in values.items():
                name = name.replace("{" + field + "}", value)
            return [check_file_name(name)]
        parts = file_name.split("/")
        return ["/".join(parts[begin:]) for begin in range(len(parts))]

    def _read(self, name: str) -> StoredImage | None:
        try:
            data = self._store.read(name)
        except (NotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return None
        return _describe_image(_make_pixels(f"{self.url}/{name}"), data, name)


class ShardImages:
    """Members of tar shards, found by KEY, by SHARD/KEY, or by the last part of the key if it is unique."""

    def __init__(self, source: str, key_map: Path | None) -> None:
        urls = expand_urls([source])
        self.url = absolute_url(source)
        names = None if key_map is None else _load_key_map(key_map)
        cache = ShardCache()
        self._paths = {url: cache.fetch(stat_shard(url)) for url in urls}
        # None: several samples have this name
        self._members: dict[str, tuple[str, Member] | None] = {}
        for url, path in self._paths.items():
            for member in read_members(path):
                for name in _member_names(url, member, names):
                    self._members[name] = None if name in self._members else (url, member)

    def find(self, file_name: str, record: Mapping[str, JsonValue]) -> StoredImage:
        """Return the image, see ImageSource. Raises RecordError image_ambiguous if several samples have the name."""
        name = check_file_name(file_name)
        path = PurePosixPath(name)
        bare = str(path.with_suffix("")) if path.suffix.lower() in _SUFFIXES else name
        there = next((n for n in (bare, PurePosixPath(bare).name) if n in self._members), None)
        if there is None:
            raise RecordError("image_missing", file_name)
        place = self._members[there]
        if place is None:
            raise RecordError("image_ambiguous", file_name)
        url, member = place
        with self._paths[url].open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size_bytes)
        return _describe_image(_make_pixels(url, member.offset, member.size_bytes), data, file_name)


def _member_names(url: str, member: Member, names: Mapping[tuple[str, str], str] | None) -> set[str]:
    """Return the names, without suffix, under which gold may mean this member."""
    path = PurePosixPath(member.name)
    if path.suffix.lower() not in _SUFFIXES:
        return set()
    key, shard = str(path.with_suffix("")), url.rsplit("/", 1)[-1]
    if names is None:
        return {key, f"{shard}/{key}", PurePosixPath(key).name}
    named = names.get((shard, key))
    return set() if named is None else {str(PurePosixPath(named).with_suffix(""))}


def _make_pixels(url: str, offset: int | None = None, length: int | None = None) -> PixelsRow:
    return {"url": url, "offset": offset, "length": length, "row_group": None, "row": None, "column": None}


def _describe_image(pixels: PixelsRow, data: bytes, name: str) -> StoredImage:
    try:
        image = decode_image(data)
    except SampleRejectedError as rejected:
        raise RecordError("image_bad", f"{name}: {rejected}") from rejected
    return StoredImage(
        pixels,
        sha256_hex(data),
        image.width,
        image.height,
        image.stored_width,
        image.stored_height,
        image.exif_orientation,
    )


def check_file_name(name: str) -> str:
    """Return the name with forward slashes. Raises RecordError for a name that would leave its folder."""
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise RecordError("file_name_unsafe", repr(name))
    return "/".join(part for part in parts if part != ".")


def _load_key_map(path: Path) -> dict[tuple[str, str], str]:
    return {(row["shard"], row["key"]): row["file_name"] for row in read_key_map(path, ("file_name",))}


def _check_pattern(source: str) -> None:
    """Raise ConfigError for an empty source, or a pattern with a field that no record fills."""
    unknown = [name for name in re.findall(r"\{(.*?)\}", source) if name not in _FIELDS]
    if unknown or not source:
        fields = ", ".join("{" + name + "}" for name in _FIELDS)
        found = "{" + unknown[0] + "} is unknown" if unknown else "is empty"
        raise ConfigError(
            f"--images {source!r}: {found}; expected a folder, shards (*.tar) or a pattern of {fields}"
        )
