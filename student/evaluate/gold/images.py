"""Where the images of an evaluation come from: a folder named as the gold names its files, or shards.

Promise: every gold image is met at most once, and what is missing is known to the caller, never passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from engine.reading.images import decode_image
from engine.reading.pixels import read_pixels
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.reading.shard_urls import expand_urls
from engine.reading.shards import open_shard
from engine.reading.user_text import read_key_map
from engine.settings import InputSettings
from schemas.digests import sha256_hex
from schemas.errors import ConfigError, ConflictError, NotFoundError

_SHARD_SUFFIXES = (".tar", ".parquet")
# A stored copy may round a side by one pixel; beyond that it is another picture or a crop.
_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True)
class EvaluationImage:
    """A gold image's record and its pixels, [h, w, 3] uint8 RGB, upright, perhaps stored smaller than the gold says."""

    record: Mapping[str, Any]
    rgb_u8: np.ndarray

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from stored pixels to the gold's."""
        height, width = self.rgb_u8.shape[:2]
        return self.record.get("width", width) / width, self.record.get("height", height) / height


def evaluation_images(
    source: str | None, records: Sequence[Mapping[str, Any]], key_map: Path | None = None
) -> Iterator[EvaluationImage]:
    """The gold images that `source` holds.

    source:  a folder of image files, a folder of shards, or shard URLs with braces and globs; None: where the records'
             own `pixels` say (imported gold)
    key_map: CSV with the columns shard, key and file_name (or coco_image_id) that ties samples to gold images; without
             it a sample belongs to the gold image whose file is called KEY.* or SHARD/KEY
    raises:  NotFoundError for a source that does not exist, ConfigError for a copy of another shape than its gold
             image, ConflictError where imported gold's image is another by now
    """
    if source is None:
        yield from map(_checked, _from_pixels(records))
        return
    folder = Path(source)
    shards = _shard_urls(source, folder, records)
    if shards:
        yield from map(_checked, _from_shards(shards, records, key_map))
    elif folder.is_dir():
        yield from map(_checked, _from_folder(folder, records))
    else:
        raise NotFoundError(f"--images {source}: neither a folder nor shards ({', '.join(_SHARD_SUFFIXES)})")


def _shard_urls(source: str, folder: Path, records: Sequence[Mapping[str, Any]]) -> list[str]:
    if folder.is_dir():
        found = sorted(str(path) for path in folder.iterdir() if path.suffix in _SHARD_SUFFIXES)
        tars = [path for path in found if path.endswith(".tar")]
        # img2dataset puts a table without pixels beside its tars or image files: it is no shard then.
        loose = any(_file_in(folder, record["file_name"]) for record in records)
        return tars if tars or loose else found
    return expand_urls([source]) if source.endswith(_SHARD_SUFFIXES) else []


def _from_pixels(records: Sequence[Mapping[str, Any]]) -> Iterator[EvaluationImage]:
    for record in records:
        if record.get("pixels") is not None:
            data = read_pixels(record["pixels"])
            if sha256_hex(data) != record["image_sha256"]:
                raise ConflictError(
                    f"{record['file_name']}: the image at {record['pixels']['url']} is not the one that was imported "
                    "(its sha256 differs); restore it, or import the gold again"
                )
            yield EvaluationImage(record, decode_image(data).rgb_u8)


def _from_folder(folder: Path, records: Sequence[Mapping[str, Any]]) -> Iterator[EvaluationImage]:
    for record in records:
        path = _file_in(folder, record["file_name"])
        if path is not None:
            yield EvaluationImage(record, decode_image(path.read_bytes()).rgb_u8)


def _file_in(folder: Path, name: str) -> Path | None:
    """The file of that name, also without its first folders: `val2017/1.jpg` may be unpacked to `1.jpg`."""
    parts = PurePosixPath(name).parts
    if ".." in parts or PurePosixPath(name).is_absolute():
        raise ConfigError(f"the gold's file name {name!r} leaves the folder of images")
    places = (folder.joinpath(*parts[begin:]) for begin in range(len(parts)))
    return next((path for path in places if path.is_file()), None)


def _from_shards(
    urls: Sequence[str], records: Sequence[Mapping[str, Any]], key_map: Path | None
) -> Iterator[EvaluationImage]:
    find = _Keys(records, key_map)
    shard_cache, met = ShardCache(), set()
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
            if record["id"] in met:
                raise ConfigError(
                    f"two samples belong to the gold image {record['file_name']}; give a key map"
                )
            met.add(record["id"])
            yield EvaluationImage(record, decode_image(data).rgb_u8)


class _Keys:
    """Which gold image a shard's sample is."""

    def __init__(self, records: Sequence[Mapping[str, Any]], key_map: Path | None) -> None:
        self._by_name = {record["file_name"]: record for record in records}
        stems = Counter(Path(name).stem for name in self._by_name)
        # A stem that two gold images share names neither: a/1.jpg and b/1.jpg need SHARD/KEY or a key map.
        self._by_stem = {
            stem: record for name, record in self._by_name.items() if stems[stem := Path(name).stem] == 1
        }
        self._by_id = {str(record["id"]): record for record in records}
        self._mapped = None if key_map is None else self._read(key_map)

    def __call__(self, url: str, key: str) -> Mapping[str, Any] | None:
        if self._mapped is not None:
            return self._mapped.get((url.rsplit("/", 1)[-1], key))
        parts = url.split("/")
        names = ("/".join([*parts[-depth:], key]) for depth in range(1, min(len(parts), 4) + 1))
        listed = (self._by_name[name] for name in names if name in self._by_name)
        return next(listed, None) or self._by_stem.get(key)

    def _read(self, path: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
        rows = read_key_map(path, ("file_name", "coco_image_id"))
        found = {}
        for row in rows:
            record = self._by_name.get(row.get("file_name", "")) or self._by_id.get(
                row.get("coco_image_id", "")
            )
            if record is not None:
                found[row["shard"], row["key"]] = record
        return found


def _checked(image: EvaluationImage) -> EvaluationImage:
    x, y = image.scale
    height, width = image.rgb_u8.shape[:2]
    if abs(x / y - 1) > _ASPECT_TOLERANCE and abs(x * height - y * height) > 2 * max(x, y):
        raise ConfigError(
            f"{image.record['file_name']}: stored {width}x{height}, gold {image.record['width']}x"
            f"{image.record['height']}: a crop or another picture; its boxes cannot be scaled to the gold"
        )
    return image
