"""Files on this machine's disk that are created whole or not at all, and the removal of abandoned temporary files.

A name has a whole file or nothing, even if a process dies in between. A temporary file that a living process may still
be writing is never removed.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from schemas.errors import RuntimeEnvironmentError

TEMPORARY = ".tmp-"
_OWNED = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{12})-(\d+)-[0-9a-f]+\Z")


def create_file(full: str, data: bytes) -> None:
    """Create a file that does not exist yet.

    Raises FileExistsError, and RuntimeEnvironmentError if the file system has no hard links.
    """
    # open(path, "xb") is exclusive, but a crash between open and write leaves a broken record for ever
    with _name_file_in_errors(full), _open_temporary(full) as (temporary, file):
        file.write(data)
    try:
        os.link(temporary, full)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise RuntimeEnvironmentError(
                f"{os.path.dirname(full)}: this file system has no hard links, so a record cannot be created by "
                "one writer alone; choose another disk for the output"
            ) from error
        raise
    finally:
        os.unlink(temporary)
    _sync_folder(os.path.dirname(full))


def replace_file(full: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically and durably, in place of an existing one. Create missing folders."""
    with _name_file_in_errors(full), open_replacement(full) as file:
        file.write(data)


@contextmanager
def open_replacement(full: str | os.PathLike[str], durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces the file `full` atomically after the block.

    If the block raises, `full` stays as it was and the temporary file is removed.
    durable: write to the disk before the file gets its name, so that it also survives a power failure
    """
    full = os.path.abspath(full)
    with _open_temporary(full, durable) as (temporary, file):
        yield file
    try:
        os.replace(temporary, full)
    except OSError:  # `full` is a folder
        os.unlink(temporary)
        raise
    if durable:
        _sync_folder(os.path.dirname(full))


def remove_abandoned_files(root: str) -> list[str]:
    """Remove the temporary files that dead processes of this machine left under a folder; return their paths.

    The name of a temporary file contains its machine (host, boot and process namespace) and process. Files of other
    machines and of living processes are kept: no age and no clock decides.
    """
    removed = []
    for folder, _, names in os.walk(root):
        for name in names:
            owner = _OWNED.match(name)
            if owner and owner[1] == _machine() and not _is_alive(int(owner[2])):
                with suppress(FileNotFoundError):  # another clean-up was faster
                    os.unlink(os.path.join(folder, name))
                    removed.append(os.path.join(folder, name))
    return sorted(removed)


@contextmanager
def _open_temporary(full: str, durable: bool = True) -> Iterator[tuple[str, BinaryIO]]:
    """Open a new temporary file next to `full`; remove it if the block raises."""
    folder = os.path.dirname(full)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"{TEMPORARY}{_machine()}-{os.getpid()}-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less the umask, as `open`
    try:
        with os.fdopen(handle, "wb") as file:
            yield temporary, file
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        with suppress(FileNotFoundError):  # the folder may be gone
            os.unlink(temporary)
        raise


@contextmanager
def _name_file_in_errors(full: str | os.PathLike[str]) -> Iterator[None]:
    """Add the file's name to an OSError that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(full)) from error


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.cache
def _machine() -> str:
    """Return 12 digits for this host, boot and process namespace, inside which a process id is unique."""
    return hashlib.sha256("\n".join(_machine_parts()).encode()).hexdigest()[:12]


def _machine_parts() -> Iterator[str]:
    yield os.uname().nodename
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            yield file.read().strip()
        yield os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux: the host's name alone
        return


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
