"""List one folder, local or in a bucket, and read its files.

Files are untrusted: a link is followed only if it stays inside the folder that the job names, a pipe or a device is
never opened, and a file that is not the listed one is an error. Names that begin with a dot are hidden and ignored.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from engine.reading.shard_cache import find_version
from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url, open_filesystem, translate_store_errors
from engine.storage.retry import with_retries
from schemas.errors import ConfigError, ShardDamagedError

# Details are stored in the failures of snapshots and in rows of rejected samples, so their texts must not change.
MAX_FILES = 500_000
LEAVES_INPUT = "a link out of the input folder"
DEAD_LINK = "a link to nothing"
NO_FILE = "a pipe or a device"


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file of a folder. `url` is where it is read. `problem` says why it must not be read."""

    name: str
    url: str
    size_bytes: int = 0
    version: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class FolderListing:
    """The files of a folder in the order of their names, and the names of the folders in it.

    leaving: names of linked folders that are outside of the input
    """

    url: str
    files: tuple[FolderFile, ...]
    folders: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()


@with_retries
def list_folder(url: str, root: str, storage: StorageSettings | None = None) -> FolderListing:
    """List a folder.

    root:   the folder that the job names, which links must not leave
    raises: ShardDamagedError SHARD_MISSING, SHARD_LIMIT, or SHARD_FORMAT if the folder itself is a link out of `root`
    """
    try:
        found = _list_local(url, root) if "://" not in url else _list_remote(url, storage)
    except FileNotFoundError as error:
        raise ShardDamagedError("SHARD_MISSING", f"{url} does not exist") from error
    except NotADirectoryError as error:
        raise ShardDamagedError("SHARD_MISSING", f"{url} is a file, expected a folder") from error
    if len(found.files) > MAX_FILES:
        raise ShardDamagedError(
            "SHARD_LIMIT", f"{url}: {len(found.files)} files, at most {MAX_FILES}; split the folder"
        )
    return found


@dataclass
class _Collected:
    files: list[FolderFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    leaving: list[str] = field(default_factory=list)

    def listing(self, url: str) -> FolderListing:
        files = tuple(sorted(self.files, key=lambda file: file.name))
        return FolderListing(url, files, tuple(sorted(self.folders)), tuple(sorted(self.leaving)))


def _list_local(folder: str, root: str) -> FolderListing:
    real_root, real_folder = os.path.realpath(root), os.path.realpath(folder)
    if not _is_inside(real_folder, real_root):
        raise ShardDamagedError(
            "SHARD_FORMAT", f"{folder} is {LEAVES_INPUT} to {real_folder}; name that folder in input.urls"
        )
    found = _Collected()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                _add_local(found, entry, real_root)
    return found.listing(folder)


def _add_local(found: _Collected, entry: os.DirEntry[str], real_root: str) -> None:
    """Add an entry. A linked folder inside the input is left out, because it is listed in its own place."""
    is_link = entry.is_symlink()
    try:
        status = entry.stat()
    except OSError:
        if is_link:
            found.files.append(FolderFile(entry.name, entry.path, problem=DEAD_LINK))
        return  # else it was deleted since the folder was opened
    real = os.path.realpath(entry.path) if is_link else entry.path
    leaves = is_link and not _is_inside(real, real_root)
    if stat.S_ISDIR(status.st_mode):
        if leaves:
            found.leaving.append(entry.name)
        elif not is_link:
            found.folders.append(entry.name)
        return
    problem = LEAVES_INPUT if leaves else None if stat.S_ISREG(status.st_mode) else NO_FILE
    version = f"mtime={status.st_mtime_ns}"
    found.files.append(FolderFile(entry.name, real, status.st_size, version, problem))


def _list_remote(url: str, storage: StorageSettings | None) -> FolderListing:
    filesystem, path = open_filesystem(url, storage)
    with translate_store_errors(url):
        entries = filesystem.ls(path, detail=True)
    found = _Collected()
    for info in entries:
        full = str(info["name"]).rstrip("/")
        name, is_folder = full.rsplit("/", 1)[-1], info["type"] == "directory"
        if full.strip("/") == path.strip("/"):
            _check_own_entry(url, info)
        elif is_folder and not name.startswith("."):
            found.folders.append(name)
        elif not name.startswith(".") and not str(info["name"]).endswith("/"):
            found.files.append(_remote_file(url, name, info))
    return found.listing(url)


def _check_own_entry(url: str, info: Mapping[str, object]) -> None:
    """Check an entry with the folder's own name: the empty object that marks a folder is ignored.

    raises: NotADirectoryError if it is a file; ConfigError if it stands for objects in a folder without a name
    """
    if info["type"] == "directory" and info.get("StorageClass") == "DIRECTORY":  # S3 lists a mark as a file
        raise ConfigError(
            f"{url} has objects with '//' in their names, which no folder can hold; rename them"
        )
    if info["type"] != "directory" and not str(info["name"]).endswith("/"):
        raise NotADirectoryError(url)


def _remote_file(url: str, name: str, info: Mapping[str, object]) -> FolderFile:
    where = f"{url}/{name}"
    return FolderFile(name, where, int(str(info["size"])), find_version(where, info))


def read_file(file: FolderFile, storage: StorageSettings | None = None) -> bytes:
    """Read a whole file. Raises ShardDamagedError INPUT_CHANGED if it is not the listed one."""
    assert file.problem is None, "a file with a problem is not read"
    try:
        return _read_local(file) if "://" not in file.url else _read_remote(file, storage)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise _changed(file, "it is gone") from error


def _read_local(file: FolderFile) -> bytes:
    """Read without following a link and without waiting for a pipe: both may have taken the file's place."""
    try:
        handle = os.open(file.url, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if os.path.islink(file.url):
            raise _changed(file, "it is a link") from error
        raise
    with open(handle, "rb") as source:
        status = os.fstat(handle)
        now = (status.st_size, f"mtime={status.st_mtime_ns}")
        if not stat.S_ISREG(status.st_mode) or now != (file.size_bytes, file.version):
            raise _changed(file, f"it has {now[0]} bytes ({now[1]})")
        return _check_size(file, source.read(file.size_bytes + 1))


@with_retries
def _read_remote(file: FolderFile, storage: StorageSettings | None) -> bytes:
    if not file.size_bytes:  # stores refuse a range of an empty object
        return b""
    filesystem, path = open_filesystem(file.url, storage)
    with translate_store_errors(file.url):
        return _check_size(file, bytes(filesystem.cat_file(path, start=0, end=file.size_bytes + 1)))


def _check_size(file: FolderFile, data: bytes) -> bytes:
    if len(data) != file.size_bytes:
        raise _changed(file, f"{len(data)} bytes were read")
    return data


def _changed(file: FolderFile, now: str) -> ShardDamagedError:
    return ShardDamagedError(
        "INPUT_CHANGED",
        f"{file.url}: {file.size_bytes} bytes ({file.version}) when the folder was listed, now {now}; run the same "
        "command again to plan anew",
    )


def is_url_name(name: str) -> bool:
    """Return whether a URL can have the name of a file or folder: text without control characters and `::`."""
    is_text = not any("\ud800" <= char <= "\udfff" for char in name)
    return is_text and "::" not in name and not any(char < " " or char == "\x7f" for char in name)


def escape_name(name: str) -> str:
    """Return a name as text: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find_root(url: str, patterns: tuple[str, ...]) -> str:
    """Return the folder of `input.urls` that a shard is in: the outermost one, up to the first part with a wildcard.

    A folder that only a list (`@FILE`) names is a root of its own.
    """
    roots = [root for pattern in patterns if not pattern.startswith("@") for root in _roots(pattern)]
    return min((root for root in roots if _is_inside(url, root)), key=len, default=url)


def _roots(pattern: str) -> Iterator[str]:
    """Yield the pattern itself, for a folder whose name has such characters, and its part without wildcards."""
    whole = absolute_url(pattern)
    yield whole
    cut = min((at for at in map(whole.find, "*?[{") if at >= 0), default=-1)
    if cut >= 0:
        yield whole[:cut].rpartition("/")[0] or "/"


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
