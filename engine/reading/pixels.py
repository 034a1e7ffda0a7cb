"""Read the stored image bytes at the `pixels` of a row, from the current location of the shard.

The bytes have the sha256 of the row if the shard is unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.reading.formats.parquet import read_parquet_image
from engine.reading.shard_cache import ShardCache, stat_shard
from engine.reading.shards import MAX_MEMBER_BYTES
from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, open_filesystem
from schemas.errors import NotFoundError, ShardDamagedError
from schemas.records import Pixels
from schemas.rows import PixelsRow

MOVED = "if the shards moved, give their new location with `--root WAS=NOW` (in a training stream: `roots`)"


def read_pixels(
    pixels: Pixels | PixelsRow,
    roots: Mapping[str, str] | None = None,
    storage: StorageSettings | None = None,
) -> bytes:
    """Return the stored image bytes.

    pixels: a Pixels record or the `pixels` of a row
    roots:  URL prefixes and their replacements, e.g. {"s3://a/": "/mnt/a/"}; the longest match is used
    raises: NotFoundError if the file or the range does not exist
    """
    where = pixels if isinstance(pixels, Pixels) else Pixels.model_validate(dict(pixels))
    url = absolute_url(rebase_url(where.url, roots or {}))
    if where.row_group is not None and where.row is not None and where.column is not None:
        return _read_cell(url, where.row_group, where.row, where.column, storage)
    filesystem, path = open_filesystem(url, storage)
    start = where.offset or 0
    end = start + (MAX_MEMBER_BYTES + 1 if where.length is None else where.length)
    try:
        data = bytes(filesystem.cat_file(path, start=start, end=end))
    except FileNotFoundError as error:
        raise NotFoundError(f"{url} does not exist; {MOVED}") from error
    if where.length is None and len(data) > MAX_MEMBER_BYTES:
        raise NotFoundError(
            f"{url}: more than {MAX_MEMBER_BYTES} bytes; the image differs from the one that was labeled"
        )
    if where.length is not None and len(data) != where.length:
        raise NotFoundError(
            f"{url}: {len(data)} of {where.length} bytes at {start}; the shard differs from the one that was labeled"
        )
    return data


def rebase_url(url: str, roots: Mapping[str, str]) -> str:
    """Replace the longest matching prefix of a URL."""
    matches = [prefix for prefix in roots if url.startswith(prefix)]
    if not matches:
        return url
    longest = max(matches, key=len)
    return roots[longest] + url[len(longest) :]


def _read_cell(url: str, row_group: int, row: int, column: str, storage: StorageSettings | None) -> bytes:
    try:
        path = Path(url) if "://" not in url else ShardCache().fetch(stat_shard(url, storage), storage)
        return read_parquet_image(path, url, row_group, row, column)
    except (ShardDamagedError, FileNotFoundError) as error:
        raise NotFoundError(f"{error}; {MOVED}") from error
