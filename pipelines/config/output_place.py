"""Check a place before a verb works and writes there: what it contains, whether it may be used, whether it is writable.

A verb writes into a new or empty place, or into output of its own kind, never into the output of another verb. Local
paths and URLs are treated alike.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from engine.storage.store import open_store
from pipelines.config.folder_kind import FolderKind, detect_kind, detect_kind_of_ancestor, list_content
from schemas.errors import ConfigError, ConflictError, RuntimeEnvironmentError

# Kinds that contain other outputs, each in a folder of its own, and their folders into which nothing may be put.
_COLLECTIONS = {
    FolderKind.DEMO: re.compile(r"steps|world|start|base|teacher|evidence|view|student|control|audit"),
    FolderKind.ROUNDS: re.compile(r"steps|round-\d+"),
}
_COLLECTION_FILE = re.compile(r".+\.yaml|.+\.html|\..*")  # what a demo and rounds write next to their folders
_NEVER_REPLACED = (".tar", ".parquet", ".onnx", ".pth", ".safetensors", ".db", ".jpg", ".png")
_URL_AS_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_MAX_LISTED = 3


def check_folder(
    option: str,
    url: str,
    makes: FolderKind | tuple[FolderKind, ...],
    *,
    storage: StorageSettings | None = None,
    repeats: bool = True,
    overwrite: bool = False,
    reads: Iterable[str] = (),
) -> FolderKind:
    """Check a folder to which a verb is about to write. Return what it contains: nothing, or a kind in `makes`.

    option:    the flag or setting that names the folder, for messages
    repeats:   whether the verb may continue in its own output without --overwrite
    overwrite: whether --overwrite was given, which allows replacing output of the verb's own kind
    reads:     files that the verb reads, such as its configuration, which may be in the folder
    raises:    ConflictError when something else is there or it is inside another verb's output;
               RuntimeEnvironmentError when it cannot be written or a file has its name
    """
    own = makes if isinstance(makes, tuple) else (makes,)
    place = _normalize(option, url)
    _refuse_file_in_the_way(option, place, storage)
    kind = detect_kind(place, storage, reads)
    if kind is not FolderKind.NOTHING and kind not in own:
        raise ConflictError(
            f"{option} {url} contains {_describe(place, kind, storage)}; expected a new or empty folder, or "
            f"{own[0].value}; choose another folder"
        )
    if kind in own and not (repeats or overwrite):
        raise ConflictError(
            f"{option} {url} already contains {kind.value}; expected a new or empty folder; choose another path, or "
            "add --overwrite"
        )
    if kind is FolderKind.NOTHING or overwrite:
        _refuse_inside_output(option, place, storage, is_file=False)
    _refuse_unwritable(option, place, storage)
    return kind


def check_file(
    option: str,
    url: str,
    *,
    storage: StorageSettings | None = None,
    overwrite: bool = False,
    reads: Iterable[str | os.PathLike[str] | None] = (),
    is_own: Callable[[str], bool] = lambda path: False,
) -> None:
    """Check a file that a verb is about to write.

    overwrite: whether --overwrite was given, which allows replacing a plain file, never a shard or another verb's file
    reads:     files that the same verb reads
    is_own:    tells an earlier output of the same verb from other images, shards and models, which are never replaced
    raises:    ConflictError, RuntimeEnvironmentError, and ConfigError when it is one of `reads`
    """
    place = _normalize(option, url)
    if any(name is not None and _is_same(place, str(name)) for name in reads):
        raise ConfigError(f"{option} {url} is a file that this command reads; choose another file")
    if _is_folder(place, storage):
        kind = detect_kind(place, storage)
        problem = RuntimeEnvironmentError if kind in (FolderKind.NOTHING, FolderKind.OTHER) else ConflictError
        raise problem(
            f"{option} {url} is a folder with {kind.value}; expected the path of a file; add its name"
        )
    _refuse_inside_output(option, place, storage, is_file=True)
    if _is_file(place, storage):
        _refuse_existing_file(option, url, place, overwrite, is_own)
    parent = _parent(place)
    if parent is not None:
        _refuse_file_in_the_way(option, parent, storage)
        _refuse_unwritable(option, parent, storage)


def check_new_folder(option: str, url: str) -> None:
    """Check a local folder that a verb is about to create. Raises as `check_folder`, but not if the folder exists."""
    place = _normalize(option, url)
    if not os.path.lexists(place):
        _refuse_file_in_the_way(option, place, None)
        _refuse_inside_output(option, place, None, is_file=False)
        _refuse_unwritable(option, place, None)


def _normalize(option: str, url: str) -> str:
    """Return the absolute path or URL of a place. Raises ConfigError for a URL where only a local path is possible.

    An option for a local path turns `s3://` into `s3:/`.
    """
    if _URL_AS_PATH.match(url):
        raise ConfigError(f"{option} {url} is a URL; expected a local path")
    place: str = absolute_url(url)
    return place


def _describe(place: str, kind: FolderKind, storage: StorageSettings | None) -> str:
    if kind is not FolderKind.OTHER:
        return str(kind.value)
    names = list_content(place, storage)
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"other files ({', '.join(names[:_MAX_LISTED])}{more})"


def _refuse_existing_file(
    option: str, url: str, place: str, overwrite: bool, is_own: Callable[[str], bool]
) -> None:
    is_local = "://" not in place
    if is_local and not os.path.isfile(place):
        raise RuntimeEnvironmentError(
            f"{option} {url} is a device, a pipe or a broken link; expected a plain file or a new one; choose another "
            "file"
        )
    if place.endswith(_NEVER_REPLACED) and not is_own(place):
        raise ConflictError(
            f"{option} {url} exists and is not a file that this command writes; choose another file"
        )
    if not overwrite:
        raise ConflictError(
            f"{option} {url} already exists; choose another file, or add --overwrite to replace it"
        )
    if is_local and not os.access(place, os.W_OK):
        raise RuntimeEnvironmentError(
            f"{option} {url} cannot be written; check its permissions, or choose another file"
        )


def _refuse_inside_output(option: str, place: str, storage: StorageSettings | None, *, is_file: bool) -> None:
    """Raise ConflictError for a place inside the output of a verb.

    Allowed are a folder or file next to the outputs inside a demo or rounds, and a folder next to shards.
    """
    for ancestor, below in _ancestors(place):
        kind = detect_kind_of_ancestor(ancestor, storage)
        if kind is FolderKind.SHARDS and not (is_file and len(below) == 1):
            continue
        if kind in _COLLECTIONS and not _is_owned(kind, below, is_file):
            continue
        if kind not in (FolderKind.NOTHING, FolderKind.OTHER):
            raise ConflictError(
                f"{option} {place} is inside {ancestor}, which contains {kind.value}; expected a place outside of it; "
                "choose another path"
            )


def _is_owned(kind: FolderKind, below: list[str], is_file: bool) -> bool:
    """Return whether a place is a file or the step cache of a demo or of rounds, or inside a folder of theirs."""
    if len(below) == 1 and is_file:
        return bool(_COLLECTION_FILE.fullmatch(below[0]))
    return below[0] == "steps" or (len(below) > 1 and bool(_COLLECTIONS[kind].fullmatch(below[0])))


def _ancestors(place: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the folders above a place, nearest first, each with the path from it to the place."""
    if "://" not in place:
        place = os.path.realpath(place)
    below: list[str] = []
    while (parent := _parent(place)) is not None:
        below.insert(0, place.rsplit("/", 1)[-1])
        yield parent, list(below)
        place = parent


def _parent(place: str) -> str | None:
    """Return the folder that contains a path or URL; None for a root."""
    if "://" not in place:
        parent = os.path.dirname(place)
        return None if parent == place else parent
    protocol, path = place.split("://", 1)
    head, _, _ = path.rpartition("/")
    return f"{protocol}://{head}" if head else None


def _is_folder(place: str, storage: StorageSettings | None) -> bool:
    return os.path.isdir(place) if "://" not in place else bool(open_store(place, storage).list_folder())


def _is_file(place: str, storage: StorageSettings | None) -> bool:
    if "://" not in place:
        return os.path.lexists(place)
    parent = _parent(place)
    return parent is not None and place.rsplit("/", 1)[-1] in open_store(parent, storage).list_folder()


def _is_same(place: str, other: str) -> bool:
    try:
        other = absolute_url(other)
    except ConfigError:
        return False
    if "://" in place or "://" in other:
        return place == other
    return os.path.realpath(place) == os.path.realpath(other)


def _refuse_file_in_the_way(option: str, folder: str, storage: StorageSettings | None) -> None:
    """Raise RuntimeEnvironmentError when the folder, or one above it, is a file or cannot be reached."""
    if "://" in folder:
        is_object = False
        with suppress(RuntimeEnvironmentError):  # permission to list often covers one's own prefix only
            is_object = _is_file(folder, storage) and not _is_folder(folder, storage)
        if is_object:
            raise RuntimeEnvironmentError(
                f"{option} {folder} is an existing object; expected a folder (prefix); choose another path"
            )
        return
    try:
        os.stat(folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise RuntimeEnvironmentError(
                f"{option} {folder} cannot be reached ({error.strerror}); choose another folder"
            ) from error
    nearest = _nearest(folder)
    if not os.path.isdir(nearest):
        raise RuntimeEnvironmentError(
            f"{option} {folder}: {nearest} is a file; expected a folder; choose another path"
        )


def _nearest(path: str) -> str:
    """Return the path itself if it exists, else the nearest existing folder above it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _refuse_unwritable(option: str, folder: str, storage: StorageSettings | None) -> None:
    """Raise RuntimeEnvironmentError unless a file can be written there. The test file is removed at once."""
    if "://" in folder:
        store, name = open_store(folder, storage), f"self-test-{secrets.token_hex(8)}"
        store.put_if_absent(name, b"")
        with suppress(RuntimeEnvironmentError):  # writing needs no permission to delete
            store.delete(name)
        return
    nearest = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise RuntimeEnvironmentError(
            f"{option} {folder}: {nearest} cannot be written ({error.strerror or error}); check its permissions and "
            "free space, or choose another path"
        ) from error
