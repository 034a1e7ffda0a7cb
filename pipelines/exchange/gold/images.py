"""The images of gold: in a folder, behind a pattern, or in tar shards. Each is read once.

Digest, size and orientation are those of the stored bytes. `student.gold` has the rules by which an image is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from engine.reading.images import decode_image
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.reading.shard_urls import expand_urls
from engine.reading.user_text import read_key_map
from engine.storage.filesystems import absolute_url
from schemas.digests import sha256_hex
from schemas.errors import ConfigError, SampleRejectedError
from schemas.rows import PixelsRow
from student.gold.account import RecordError
from student.gold.images.files import ImageFiles
from student.gold.images.names import NameClaims, SampleNames, find_mapped, parse_name
from student.gold.images.tars import TarImage, iter_tar_images

_REMEMBERED = 4096


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
    by_name: bool = False  # the path or URL of the gold was not found, but an image with its last part


class ImageSource(Protocol):
    """Finds images by the names that gold gives them."""

    url: str

    @property
    def problems(self) -> Sequence[str]:
        """Images that two names of the gold found, so that the gold cannot be used."""
        ...

    def find(self, file_name: str, record: Mapping[str, JsonValue]) -> StoredImage:
        """Return the image.

        Raises RecordError image_missing, image_ambiguous, image_outside, image_bad or file_name_unsafe.
        """
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
    """Files under a folder, or behind a pattern."""

    def __init__(self, source: str) -> None:
        self._files = ImageFiles(source)
        self.url = self._files.url
        self._look = lru_cache(_REMEMBERED)(self._read)

    @property
    def problems(self) -> list[str]:
        """Images that two names of the gold found."""
        return self._files.problems

    def find(self, file_name: str, record: Mapping[str, JsonValue]) -> StoredImage:
        """Return the image, see ImageSource."""
        found, by_name = self._files.find(file_name, record, self._look)
        return replace(found, by_name=by_name)

    def _read(self, path: str) -> StoredImage | None:
        data = self._files.read(path)
        return None if data is None else _describe_image(_make_pixels(f"{self.url}/{path}"), data, path)


class ShardImages:
    """Members of tar shards, found by the rules of SampleNames."""

    def __init__(self, source: str, key_map: Path | None) -> None:
        urls = expand_urls([source])
        self._source = source
        self.url = absolute_url(source)
        names = None if key_map is None else _load_key_map(key_map)
        cache = ShardCache()
        self._paths = {url: cache.fetch(stat_shard(url)) for url in urls}
        self._samples: SampleNames[TarImage] = SampleNames()
        self._claims = NameClaims()
        for url, path in self._paths.items():
            for image in iter_tar_images(path, url):
                self._add(url, image, names)

    @property
    def problems(self) -> list[str]:
        """Samples that two names of the gold found."""
        return [f"--images {self._source}: {problem}" for problem in self._claims.problems.values()]

    def find(self, file_name: str, record: Mapping[str, JsonValue]) -> StoredImage:
        """Return the image, see ImageSource."""
        name = parse_name(file_name)
        match = self._samples.find(name)
        if not match.is_exact:
            self._claims.claim(str(match.sample), name)
        url, image = match.sample.url, match.sample.place
        pixels = _make_pixels(url, image.member.offset, image.member.size_bytes)
        return replace(
            _describe_image(pixels, image.read(self._paths[url]), file_name), by_name=match.by_name
        )

    def _add(self, url: str, image: TarImage, names: Mapping[tuple[str, str], str] | None) -> None:
        if names is None:
            self._samples.add(url, image.key, image, image.suffix)
        elif (named := find_mapped(names, url, image.key)) is not None:
            self._samples.add_as(url, named, image)


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


def _load_key_map(path: Path) -> dict[tuple[str, str], str]:
    return {(row["shard"], row["key"]): row["file_name"] for row in read_key_map(path, ("file_name",))}
