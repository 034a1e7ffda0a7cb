"""Cache shards on the local disk: a remote shard is fetched once per machine, a local one is read in place.

`fetch` returns a whole file of the expected version or raises ShardDamagedError. The cache has a maximum size.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.settings import StorageSettings
from engine.storage.filesystems import open_filesystem, translate_store_errors
from engine.storage.local_files import TEMPORARY, open_replacement, remove_abandoned_files
from engine.storage.retry import with_retries
from schemas.errors import RuntimeEnvironmentError, ShardDamagedError

# Details are stored in the failures of snapshots, so their texts must not change.
CAP_BYTES = 32 * 2**30
MAX_SHARD_BYTES = 8 * 2**30
_CHUNK = 4 * 2**20


@dataclass(frozen=True)
class ShardStat:
    """Location, size and version of a shard, without reading it; compared again before it is read."""

    url: str
    size_bytes: int
    version: str


@with_retries
def stat_shard(url: str, storage: StorageSettings | None = None) -> ShardStat:
    """Return size and version (ETag, generation, or modification time and inode) of a shard.

    Raises ShardDamagedError SHARD_MISSING.
    """
    filesystem, path = open_filesystem(url, storage)
    try:
        with translate_store_errors(url):
            info = filesystem.info(path)
    except FileNotFoundError as error:
        raise ShardDamagedError("SHARD_MISSING", f"{url} does not exist") from error
    if info.get("type") == "other":
        raise ShardDamagedError("SHARD_MISSING", f"{url} is a pipe or a device, expected a file")
    if info.get("type") != "file":
        raise ShardDamagedError(
            "SHARD_MISSING", f"{url} is a folder, expected a file; did you mean {url}/*.tar?"
        )
    return ShardStat(url, int(info["size"]), find_version(url, info))


def find_version(url: str, info: Mapping[str, object]) -> str:
    """Return what changes with a file: of the entry of a listing. Raises ShardDamagedError without such a mark."""
    if "://" not in url:
        found = os.stat(str(info["name"]))
        return f"mtime={found.st_mtime_ns};inode={found.st_ino}"
    for name in ("ETag", "etag", "generation", "created"):
        if info.get(name):
            return f"{name.lower()}={str(info[name]).strip(chr(34))}"
    raise ShardDamagedError(
        "SHARD_FORMAT", f"{url}: the store tells no ETag or generation, so changes go unseen"
    )


class ShardCache:
    """A folder of fetched shards, shared by the processes of one user on one machine.

    It outlives a run intentionally, so that a resumed job or a reader of its images fetches nothing twice.
    """

    def __init__(self, folder: str | None = None, cap_bytes: int = CAP_BYTES) -> None:
        default = os.path.join(tempfile.gettempdir(), f"groundswell-spool-{os.getuid()}")
        self.folder = Path(folder or default)
        self.cap_bytes = cap_bytes

    def fetch(self, shard: ShardStat, storage: StorageSettings | None = None) -> Path:
        """Return a local path of the shard's bytes in this version.

        raises: ShardDamagedError SHARD_LIMIT above 8 GiB, INPUT_CHANGED if the shard has another version now
        """
        if shard.size_bytes > MAX_SHARD_BYTES:
            raise ShardDamagedError(
                "SHARD_LIMIT", f"{shard.url}: {shard.size_bytes} bytes, at most {MAX_SHARD_BYTES}"
            )
        if "://" not in shard.url:
            check_unchanged(shard, storage)
            return Path(shard.url)
        self._make_folder()
        name = hashlib.sha256(f"{shard.url}\n{shard.version}".encode()).hexdigest()[:32]
        path = self.folder / name
        with self._lock(name):
            if not path.exists():
                self._download(shard, storage, path)
        os.utime(path)
        self._evict(keep=path)
        return path

    def check_in_place(self, shard: ShardStat) -> None:
        """Raise ShardDamagedError INPUT_CHANGED if a shard that is read in place was replaced in the meantime."""
        if "://" not in shard.url:
            check_unchanged(shard)

    def _make_folder(self) -> None:
        """Create the folder, and remove the partial downloads that dead processes left in it.

        Raises RuntimeEnvironmentError if others could write to the folder: its path is easy to guess.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.folder.lstat()
        if (
            found.st_uid != os.getuid()
            or stat.S_IMODE(found.st_mode) & 0o022
            or not stat.S_ISDIR(found.st_mode)
        ):
            raise RuntimeEnvironmentError(
                f"{self.folder} is not a folder that only this user can write; "
                "remove it, or set TMPDIR to a private place"
            )
        remove_abandoned_files(str(self.folder))  # partial downloads, which the maximum size does not count

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        # the lock only saves a second download and ends with the process; the atomic rename gives safety
        with open(self.folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _download(self, shard: ShardStat, storage: StorageSettings | None, path: Path) -> None:
        filesystem, remote = open_filesystem(shard.url, storage)
        with open_replacement(path, durable=False) as target:
            with translate_store_errors(shard.url):
                source = filesystem.open(remote, "rb", cache_type="readahead", block_size=_CHUNK)
                with source:
                    shutil.copyfileobj(source, target, _CHUNK)
            check_unchanged(shard, storage)
            if (size_bytes := target.tell()) != shard.size_bytes:
                raise OSError(f"{shard.url}: {size_bytes} of {shard.size_bytes} bytes arrived")

    def _evict(self, keep: Path) -> None:
        names = (path for path in self.folder.iterdir() if not path.name.startswith(TEMPORARY))
        files = [path for path in names if not path.suffix and path != keep]
        sizes = {path: found for path in files if (found := _stat_or_none(path)) is not None}
        total = sum(found.st_size for found in sizes.values()) + keep.stat().st_size
        for path in sorted(sizes, key=lambda item: sizes[item].st_mtime_ns):
            if total <= self.cap_bytes:
                return
            # a reader with the open file can continue; a later reader fetches the shard again
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
            total -= sizes[path].st_size


def check_unchanged(shard: ShardStat, storage: StorageSettings | None = None) -> None:
    """Raise ShardDamagedError INPUT_CHANGED unless the shard still has the same size and version."""
    now = stat_shard(shard.url, storage)
    if now != shard:
        raise changed_shard_error(shard, now)


def changed_shard_error(planned: ShardStat, now: ShardStat) -> ShardDamagedError:
    """Return the error of a shard that is not the planned one."""
    return ShardDamagedError(
        "INPUT_CHANGED",
        f"{planned.url}: {planned.size_bytes} bytes ({planned.version}) when planned, now {now.size_bytes} "
        f"({now.version}); run the same command again to plan anew",
    )


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
