"""Files of a store on this machine's disk: created whole or not at all, and swept up after processes that died.

Promise: a name holds a whole file or nothing, whatever dies in between, and a file that a living process may still be
writing is never swept.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress

from schemas.errors import RuntimeEnvironmentError

TEMPORARY = ".tmp-"
_OWNED = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{12})-(\d+)-[0-9a-f]+\Z")


def create_file(full: str, data: bytes) -> None:
    """Create a file that is not there yet. Raises FileExistsError, and RuntimeEnvironmentError without hard links."""
    # open(path, "xb") is exclusive, but a crash between open and write leaves a broken record for ever
    temporary = _write_temporary(full, data)
    try:
        os.link(temporary, full)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise RuntimeEnvironmentError(
                f"{os.path.dirname(full)}: this file system has no hard links, so a record cannot be created by "
                "one writer alone; choose another disk for output.url"
            ) from error
        raise
    finally:
        os.unlink(temporary)
    _sync_folder(os.path.dirname(full))


def replace_file(full: str, data: bytes) -> None:
    """Write a file, in place of one that may stand there."""
    temporary = _write_temporary(full, data)
    try:
        os.replace(temporary, full)
    except OSError:  # a folder stands there
        os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(full))


def remove_abandoned_files(root: str) -> list[str]:
    """Remove what dead processes of this machine left half-written under a folder; the files' paths.

    A file's name holds its machine (host, boot and process namespace) and process. Files of other machines, and of
    processes that live, are left alone: no age and no clock decides.
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


def _write_temporary(full: str, data: bytes) -> str:
    folder = os.path.dirname(full)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"{TEMPORARY}{_machine()}-{os.getpid()}-{secrets.token_hex(8)}")
    mode = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with suppress(FileNotFoundError):  # the folder may be gone
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say which
            raise OSError(error.errno, error.strerror, full) from error
        raise
    return temporary


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.cache
def _machine() -> str:
    """Twelve digits for this host, boot and process namespace: where a process id means the same process."""
    return hashlib.sha256("\n".join(_identity()).encode()).hexdigest()[:12]


def _identity() -> Iterator[str]:
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
