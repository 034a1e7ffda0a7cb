"""One process at a time writes into a training's folder.

The kernel lets go of the lock when its holder dies, however it dies, so nothing has to be cleaned up after a kill; a
worker that outlives its driver for a moment keeps the next run waiting instead of writing beside it.
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
def only_writer(folder: Path, wait_s: float = 60.0) -> Iterator[None]:
    """Hold the folder for the duration. Raises ConflictError when another process still has it after `wait_s`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        end = time.monotonic() + wait_s
        while not _locked(file):
            if time.monotonic() > end:
                raise ConflictError(
                    f"{folder} is being written by another process: a training runs there; let it end, or choose "
                    "another `out`"
                )
            time.sleep(0.1)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s: this file system has no locks; see to it that one training runs there", file.name)
    return True
