"""The sandbox process: run as a module with FOLDER PIPE PARENT, it does the request in the folder.

Promise: it ends with its parent, is the first to go when the machine runs out of memory, and leaves no core file.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(folder: str, pipe: int, parent: int) -> None:
    """Do the request."""
    _become_disposable(parent)
    from engine.telemetry.logs import configure
    from engine.worker.sandbox import MEMORY_EXIT, READY, STEP, Request, give_answer
    from engine.worker.worker import Worker

    request = Request.model_validate_json(Path(folder, "request.json").read_text())
    configure(request.spec.log)
    worker = Worker(request.spec, progress=lambda: _say(pipe, STEP))
    try:
        give_answer(folder, worker.answer(request, folder, lambda: _say(pipe, READY)))
    except MemoryError:
        os._exit(MEMORY_EXIT)


def _become_disposable(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before it could take us along
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _say(pipe: int, sign: bytes) -> None:
    try:
        os.write(pipe, sign)
    except OSError:  # nobody listens any more
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
