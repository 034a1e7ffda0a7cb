"""The secret of a Ray cluster that we start: a file that only this user can read.

Ray would write its own secret into the home folder, readable by everyone (docs/ledger.md, fact 6).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "groundswell-ray-"
_MIN_AGE_S = 60.0
_USER_SETTINGS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def provide_token() -> None:
    """Point RAY_AUTH_TOKEN_PATH to a new token with mode 0600, unless the user's environment configures one.

    A process uses one token for its whole life, because Ray keeps the first one that it reads.
    """
    if any(os.environ.get(name) for name in _USER_SETTINGS):
        return
    remove_abandoned(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=_PREFIX)  # 0700
    path = os.path.join(folder, "token")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)  # the open handle keeps the lock until this process ends
    os.write(handle, secrets.token_hex(32).encode())
    os.environ["RAY_AUTH_TOKEN_PATH"] = path
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def remove_abandoned(folder: Path, min_age_s: float = _MIN_AGE_S) -> None:
    """Remove this user's tokens whose process was killed: they are not locked and older than `min_age_s`."""
    for token in folder.glob(f"{_PREFIX}*/token"):
        try:
            with open(token, "rb") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime < min_age_s:
                    continue
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(token.parent, ignore_errors=True)
        except OSError:  # another user's, locked, or removed meanwhile
            continue
