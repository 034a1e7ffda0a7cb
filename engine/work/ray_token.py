"""The secret of a Ray cluster that we start: a file that only this user can read.

Ray would write its own into the home folder, readable by everyone (docs/ledger.md, fact 6).
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile

_CHOSEN = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def provide_token() -> None:
    """Point RAY_AUTH_TOKEN_PATH to a fresh 0600 token, unless the user's environment chose something already.

    One token serves a process for its life: Ray keeps the first one that it reads.
    """
    if any(os.environ.get(name) for name in _CHOSEN):
        return
    folder = tempfile.mkdtemp(prefix="groundswell-ray-")  # 0700
    path = os.path.join(folder, "token")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = path
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
