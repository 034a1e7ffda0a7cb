"""The images of an evaluation: from a folder with the file names of the gold, from shards, or as the gold says.

Promise: every gold image is yielded at most once. A missing image is not yielded, so the caller can count it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.reading.shard_urls import expand_urls
from engine.reading.shards import open_shard
from engine.reading.user_text import read_key_map
from engine.settings import InputSettings
from schemas.digests import sha256_hex
from schemas.errors import ConfigError, ConflictError, NotFoundError
from schemas.labeler import NeededSize
from student.gold.coco_types import GoldImage

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

    source:  a folder of image files, a folder of shards, or shard URLs with braces and globs; None: the locations in
             the records' own `pixels` (imported gold)
    key_map: CSV with the columns shard, key and file_name (or coco_image_id) that assigns samples to gold images.
             Without it a sample is the gold image with the file name KEY.* or SHARD/KEY
    needed_size: how many pixels of a JPEG are needed; None: all
    raises:  NotFoundError for a source that does not exist, ConfigError for a copy of another shape than its gold
             image or for a gold image without a file name, ConflictError if the image of imported gold has changed
    """
    if source is None:
        yield from map(_check_shape, _from_pixels(records, needed_size))
        return
    folder = Path(source)
    shards = _shard_urls(source, folder, records)
    if shards:
        yield from map(_check_shape, _from_shards(shards, records, key_map, needed_size))
    elif folder.is_dir():
        yield from map(_check_shape, _from_folder(folder, records, needed_size))
    else:
        raise NotFoundError(f"--images {source}: neither a folder nor shards ({', '.join(_SHARD_SUFFIXES)})")


def _shard_urls(source: str, folder: Path, records: Sequence[GoldImage]) -> list[str]:
    if folder.is_dir():
        files = sorted(str(path) for path in folder.iterdir() if path.suffix in _SHARD_SUFFIXES)
        tars = [path for path in files if path.endswith(".tar")]
        # img2dataset writes a table without pixels next to its tars or image files. Then it is not a shard.
        names = [record["file_name"] for record in records if "file_name" in record]
        has_image_files = any(_find_file(folder, name) for name in names)
        return tars if tars or has_image_files else files
    return expand_urls([source]) if source.endswith(_SHARD_SUFFIXES) else []


def _decode(record: GoldImage, data: bytes, needed_size: NeededSize | None) -> EvaluationImage:
    image = decode_image(data, needed_size)
    return EvaluationImage(record, image.rgb_u8, (image.height, image.width))


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


def _from_folder(
    folder: Path, records: Sequence[GoldImage], needed_size: NeededSize | None
) -> Iterator[EvaluationImage]:
    for record in records:
        path = _find_file(folder, _file_name(record))
        if path is not None:
            yield _decode(record, path.read_bytes(), needed_size)


def _file_name(record: GoldImage) -> str:
    """Return the file name. Raise ConfigError if the image has none."""
    name = record.get("file_name")
    if name is None:
        raise ConfigError(f"image {record['id']!r} has neither file_name nor coco_url; add file_name")
    return name


def _describe(record: GoldImage) -> str:
    """Return the file name, or the id of an image that was found without one."""
    return record.get("file_name", f"image {record['id']!r}")


def _find_file(folder: Path, name: str) -> Path | None:
    """Return the file of that name, also without its first folders: `val2017/1.jpg` may be unpacked to `1.jpg`."""
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise ConfigError(
            f"the gold's file name {name!r} leaves the folder of images: expected a path below it"
        )
    candidates = (folder.joinpath(*parts[begin:]) for begin in range(len(parts)))
    return next((path for path in candidates if path.is_file()), None)


def _from_shards(
    urls: Sequence[str],
    records: Sequence[GoldImage],
    key_map: Path | None,
    needed_size: NeededSize | None,
) -> Iterator[EvaluationImage]:
    find = _SampleKeys(records, key_map)
    shard_cache, yielded = ShardCache(), set()
    for url in urls:
        form = "parquet" if url.endswith(".parquet") else "webdataset"
        shard = open_shard(
            shard_cache.fetch(stat_shard(url)), url, InputSettings(format=form, urls=(url,)).reading()
        )
        wanted = {raw.index: record for raw in shard.samples(0, len(shard)) if (record := find(url, raw.key))}
        readable = [
            raw for raw in shard.samples(0, len(shard)) if raw.index in wanted and raw.rejected is None
        ]
        for raw, data in zip(readable, shard.images(readable), strict=True):
            record = wanted[raw.index]
            if record["id"] in yielded:
                raise ConfigError(
                    f"two samples match the gold image {_describe(record)}; give a key map (--key-map)"
                )
            yielded.add(record["id"])
            yield _decode(record, data, needed_size)


class _SampleKeys:
    """A callable that returns the gold image of a shard's sample."""

    def __init__(self, records: Sequence[GoldImage], key_map: Path | None) -> None:
        # A key map may identify images by id alone.
        named = [record for record in records if "file_name" in record] if key_map else records
        self._by_name = {_file_name(record): record for record in named}
        stems = Counter(Path(name).stem for name in self._by_name)
        # A stem of two gold images identifies neither: a/1.jpg and b/1.jpg need SHARD/KEY or a key map.
        self._by_stem = {
            stem: record for name, record in self._by_name.items() if stems[stem := Path(name).stem] == 1
        }
        self._by_id = {str(record["id"]): record for record in records}
        self._mapped = None if key_map is None else self._read(key_map)

    def __call__(self, url: str, key: str) -> GoldImage | None:
        if self._mapped is not None:
            return self._mapped.get((url.rsplit("/", 1)[-1], key))
        parts = url.split("/")
        names = ("/".join([*parts[-depth:], key]) for depth in range(1, min(len(parts), 4) + 1))
        matches = (self._by_name[name] for name in names if name in self._by_name)
        return next(matches, None) or self._by_stem.get(key)

    def _read(self, path: Path) -> dict[tuple[str, str], GoldImage]:
        rows = read_key_map(path, ("file_name", "coco_image_id"))
        mapped = {}
        for row in rows:
            record = self._by_name.get(row.get("file_name", "")) or self._by_id.get(
                row.get("coco_image_id", "")
            )
            if record is not None:
                mapped[row["shard"], row["key"]] = record
        return mapped


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
