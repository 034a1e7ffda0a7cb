"""The sandbox process: run as a module with FOLDER PIPE PARENT, it does the request in the folder.

It ends with its parent, the kernel ends it first if memory runs out, and it leaves no core file.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(folder: str, pipe: int, parent: int) -> None:
    """Do the request."""
    _become_disposable(parent)
    from engine.telemetry.logs import configure
    from engine.worker.sandbox.messages import MEMORY_EXIT, READY, STEP, read_request, write_answer
    from engine.worker.sandbox.respond import respond

    request = read_request(folder)
    configure(request.spec.log)
    try:
        answer = respond(request, folder, lambda: _send(pipe, READY), lambda: _send(pipe, STEP))
        write_answer(folder, answer)
    except MemoryError:
        os._exit(MEMORY_EXIT)


def _become_disposable(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the signal was set up
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _send(pipe: int, sign: bytes) -> None:
    try:
        os.write(pipe, sign)
    except OSError:  # the parent closed the pipe
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
