"""A lock on a training's folder, so that only one process writes into it.

The kernel releases the lock when its process ends, in whatever way, so a kill needs no cleanup. A worker that lives
slightly longer than its driver makes the next run wait. It cannot write into the folder at the same time.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from schemas.errors import ConflictError

log = logging.getLogger(__name__)
LOCK = ".writing"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def lock_run_folder(folder: Path, wait_s: float = 60.0) -> Iterator[None]:
    """Lock the folder for the duration. Raise ConflictError if another process still has the lock after `wait_s`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        end = time.monotonic() + wait_s
        while not _try_lock(file):
            if time.monotonic() > end:
                raise ConflictError(
                    f"{folder} is being written by another process, probably a training: wait until it ends, or choose "
                    "another `out`"
                )
            time.sleep(0.1)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning(
            "%s: this file system has no locks; make sure that only one training uses this folder", file.name
        )
    return True
