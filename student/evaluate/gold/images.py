"""The images of an evaluation: from files with the names of the gold, from shards, or as the gold says.

Promise: every gold image is yielded at most once. A missing image is not yielded, so the caller can count it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.reading.shard_urls import expand_urls
from engine.reading.shards import Shard, open_shard
from engine.reading.user_text import read_key_map
from engine.settings import InputSettings
from schemas.digests import sha256_hex
from schemas.errors import ConfigError, ConflictError, NotFoundError
from schemas.labeler import NeededSize
from student.gold.account import RecordError
from student.gold.coco.types import GoldImage
from student.gold.codes import REFUSED
from student.gold.images.files import ImageFiles
from student.gold.images.names import NamedSample, SampleMatch, SampleNames, find_mapped, parse_name
from student.gold.images.tars import iter_tar_images

_SHARD_SUFFIXES = (".tar", ".parquet")
# A stored copy may round a side by one pixel. A larger difference means another picture or a crop.
_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class EvaluationImage:
    """A gold image's record and its pixels, [h, w, 3] uint8 RGB, upright; the size may differ from the gold's."""

    record: GoldImage
    rgb_u8: NDArray[np.uint8]
    stored_size: tuple[int, int]
    """(height, width) of the whole image. `rgb_u8` has less if it was decoded at a reduced scale."""
    by_name: bool = False
    """The path or URL of the gold was not found, but an image with its last part."""

    @property
    def name(self) -> str:
        """The file name, or the id of an image without one."""
        return _describe(self.record)

    @property
    def scale(self) -> tuple[float, float]:
        """Factors (x, y) from stored pixels to the gold's."""
        height, width = self.stored_size
        return self.record.get("width", width) / width, self.record.get("height", height) / height


def evaluation_images(
    source: str | None,
    records: Sequence[GoldImage],
    key_map: Path | None = None,
    needed_size: NeededSize | None = None,
) -> Iterator[EvaluationImage]:
    """Yield the gold images that `source` has.

    source:  a folder of image files or its URL, a pattern, a folder of shards, or shard URLs with braces and globs;
             None: the locations in the records' own `pixels` (imported gold)
    key_map: CSV with the columns shard, key and file_name (or coco_image_id) that assigns samples to gold images.
             Without it they are found as `gold import` finds them
    needed_size: how many pixels of a JPEG are needed; None: all
    raises:  NotFoundError for a source that does not exist; ConfigError for a copy of another shape than its gold
             image, for a gold image without a file name, for a name that several images have, and for a key map without
             shards; ConflictError if the image of imported gold has changed
    """
    if source is None:
        _check_no_key_map(key_map, "images of imported gold")
        yield from map(_check_shape, _from_pixels(records, needed_size))
        return
    shards = _shard_urls(source, records)
    if shards:
        yield from map(_check_shape, _from_shards(shards, records, key_map, needed_size))
        return
    _check_no_key_map(key_map, f"--images {source}")
    yield from map(_check_shape, _from_files(_open_files(source), records, needed_size))


def _check_no_key_map(key_map: Path | None, what: str) -> None:
    if key_map is not None:
        raise ConfigError(f"--key-map {key_map}: it is for samples of shards, {what} are files; leave it out")


def _open_files(source: str) -> ImageFiles:
    try:
        return ImageFiles(source)
    except NotFoundError as error:
        raise NotFoundError(
            f"--images {source}: neither a folder nor shards ({', '.join(_SHARD_SUFFIXES)}); correct the path"
        ) from error


def _shard_urls(source: str, records: Sequence[GoldImage]) -> list[str]:
    folder = Path(source)
    if not folder.is_dir():
        return expand_urls([source]) if source.endswith(_SHARD_SUFFIXES) else []
    files = sorted(str(path) for path in folder.iterdir() if path.suffix in _SHARD_SUFFIXES)
    tars = [path for path in files if path.endswith(".tar")]
    # img2dataset writes a table without pixels next to its tars or image files. Then it is not a shard.
    return tars if tars or not files or _has_image_file(source, records) else files


def _has_image_file(source: str, records: Sequence[GoldImage]) -> bool:
    """Return whether a folder has the file of any gold image."""
    files = ImageFiles(source)
    for record in records:
        with suppress(RecordError):
            files.find(record.get("file_name", ""), record, files.read)
            return True
    return False


def _decode(
    record: GoldImage, data: bytes, needed_size: NeededSize | None, by_name: bool = False
) -> EvaluationImage:
    image = decode_image(data, needed_size)
    return EvaluationImage(record, image.rgb_u8, (image.height, image.width), by_name)


def _from_pixels(records: Sequence[GoldImage], needed_size: NeededSize | None) -> Iterator[EvaluationImage]:
    for record in records:
        if record.get("pixels") is not None:
            data = read_pixels(record["pixels"])
            if sha256_hex(data) != record["image_sha256"]:
                raise ConflictError(
                    f"{_describe(record)}: the image at {record['pixels']['url']} is not the one that was imported "
                    "(its sha256 differs); restore it, or import the gold again"
                )
            yield _decode(record, data, needed_size)


def _from_files(
    files: ImageFiles, records: Sequence[GoldImage], needed_size: NeededSize | None
) -> Iterator[EvaluationImage]:
    for record in records:
        try:
            data, by_name = files.find(_file_name(record), record, files.read)
        except RecordError as refused:
            _check_missing(refused)
            continue
        yield _decode(record, data, needed_size, by_name)


def _check_missing(refused: RecordError) -> None:
    """Raise ConfigError unless the image is only missing. It is counted then."""
    if refused.code != "image_missing":
        raise ConfigError(f"{refused.detail}: {REFUSED[refused.code]}") from refused


def _file_name(record: GoldImage) -> str:
    """Return the file name. Raise ConfigError if the image has none."""
    name = record.get("file_name")
    if name is None:
        raise ConfigError(f"image {record['id']!r} has neither file_name nor coco_url; add file_name")
    return name


def _describe(record: GoldImage) -> str:
    """Return the file name, or the id of an image that was found without one."""
    return record.get("file_name", f"image {record['id']!r}")


def _from_shards(
    urls: Sequence[str],
    records: Sequence[GoldImage],
    key_map: Path | None,
    needed_size: NeededSize | None,
) -> Iterator[EvaluationImage]:
    wanted = _match_samples(urls, records, key_map)
    for url in urls:
        if not (places := wanted.get(url)):
            continue
        for index, data in _read_samples(url, places):
            for record, by_name in places[index]:
                yield _decode(record, data, needed_size, by_name)


def _fetch(url: str) -> Path:
    return ShardCache().fetch(stat_shard(url))


def _open_parquet(url: str) -> Shard:
    return open_shard(_fetch(url), url, InputSettings(format="parquet", urls=(url,)).reading())


def _list_samples(url: str) -> Iterator[tuple[str, str]]:
    """Yield the key of each sample of a shard, and the suffix of its image if it is known."""
    if url.endswith(".parquet"):
        shard = _open_parquet(url)
        yield from ((raw.key, "") for raw in shard.samples(0, len(shard)))
    else:
        yield from ((image.key, image.suffix) for image in iter_tar_images(_fetch(url), url))


def _read_samples(url: str, wanted: Container[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the index and image of the samples with these indices, in order. Rejected samples are left out."""
    if not url.endswith(".parquet"):
        path = _fetch(url)
        images = enumerate(iter_tar_images(path, url))
        yield from ((index, image.read(path)) for index, image in images if index in wanted)
        return
    shard = _open_parquet(url)
    readable = [raw for raw in shard.samples(0, len(shard)) if raw.index in wanted and raw.rejected is None]
    yield from zip((raw.index for raw in readable), shard.images(readable), strict=True)


_SamplePlace = tuple[str, int]
"""URL of a shard and index of a sample."""


def _match_samples(
    urls: Sequence[str], records: Sequence[GoldImage], key_map: Path | None
) -> dict[str, dict[int, list[tuple[GoldImage, bool]]]]:
    """Return by shard and index the gold images of a sample, and whether it was found by its name's last parts alone.

    A sample that several names mean without their folders is of none of them: `a/1.jpg` and `b/1.jpg` need SHARD/KEY or
    a key map.
    """
    samples = _name_samples(urls, key_map)
    matched: dict[_SamplePlace, list[tuple[GoldImage, SampleMatch[_SamplePlace]]]] = {}
    for record in records:
        match = samples.find(record)
        if match is not None:
            matched.setdefault(match.sample.place, []).append((record, match))
    wanted: dict[str, dict[int, list[tuple[GoldImage, bool]]]] = {}
    for (url, number), some in matched.items():
        exact = [(record, match.by_name) for record, match in some if match.is_exact]
        if not exact and len({record.get("file_name") for record, _ in some}) == 1:
            exact = [(record, match.by_name) for record, match in some]
        if exact:
            wanted.setdefault(url, {})[number] = exact
    return wanted


class _GoldSamples:
    """The samples of shards, by the names and ids of gold images."""

    def __init__(self, key_map: Path | None) -> None:
        self._names: SampleNames[_SamplePlace] = SampleNames()
        self._by_id: dict[str, NamedSample[_SamplePlace]] = {}
        self._rows = None
        if key_map is not None:
            rows = read_key_map(key_map, ("file_name", "coco_image_id"))
            self._rows = {(row["shard"], row["key"]): row for row in rows}

    def add(self, url: str, key: str, place: _SamplePlace, suffix: str) -> None:
        """Add a sample under its key, or under what the key map says."""
        if self._rows is None:
            self._names.add(url, key, place, suffix)
        elif row := find_mapped(self._rows, url, key):
            if name := row.get("file_name"):
                self._names.add_as(url, name, place)
            if number := row.get("coco_image_id"):
                self._by_id[number] = NamedSample(url, key, place)

    def find(self, record: GoldImage) -> SampleMatch[_SamplePlace] | None:
        """Return the sample of a gold image, None if there is none. Raise ConfigError if there are several."""
        # A key map may identify images by id alone.
        named = _file_name(record) if self._rows is None else record.get("file_name")
        by_id = self._by_id.get(str(record["id"]))
        try:
            if named is not None:
                return self._names.find(parse_name(named))
        except RecordError as refused:
            _check_missing(refused)
        return None if by_id is None else SampleMatch(by_id, is_exact=True, by_name=False)


def _name_samples(urls: Sequence[str], key_map: Path | None) -> _GoldSamples:
    samples = _GoldSamples(key_map)
    for url in urls:
        for index, (key, suffix) in enumerate(_list_samples(url)):
            samples.add(url, key, (url, index), suffix)
    return samples


def _check_shape(image: EvaluationImage) -> EvaluationImage:
    """Return the image. Raise ConfigError if its aspect ratio differs from the gold's."""
    x, y = image.scale
    height, width = image.stored_size
    if abs(x / y - 1) > _ASPECT_TOLERANCE and abs(x * height - y * height) > 2 * max(x, y):
        sides = [image.record.get("width", "unknown"), image.record.get("height", "unknown")]
        raise ConfigError(
            f"{image.name}: stored {width}x{height}, gold {sides[0]}x{sides[1]}: a crop or another picture, so its "
            "boxes cannot be scaled to the gold; restore the image, or remove it from the gold"
        )
    return image
