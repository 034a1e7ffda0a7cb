"""Resident memory of a process, and a limit that ends a process above it.

A process that exceeds its limit ends at once, before it harms other processes of the machine. Linux only: elsewhere
nothing is measured and no process is ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

CHECK_EVERY_S = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(process: int | str = "self") -> int:
    """Return the resident size of a process, or 0 if the process is gone or its size is unknown."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def io_mib() -> int:
    """Return the MiB that this process read and wrote so far: its progress while a shard is fetched or indexed."""
    try:
        fields = Path("/proc/self/io").read_text().split()
        return (int(fields[1]) + int(fields[3])) >> 20
    except (OSError, IndexError, ValueError):
        return 0


def enforce_limit(limit_bytes: int) -> None:
    """Watch this process from a thread and send it SIGKILL above the limit. Its unit is isolated afterwards."""

    def watch() -> None:
        while (resident := resident_bytes()) <= limit_bytes:
            timer.wait(CHECK_EVERY_S)
        print(
            f"ended at {resident / 2**30:.2f} GiB, run.memory_limit_gb allows {limit_bytes / 2**30:.2f}",
            file=sys.stderr,
            flush=True,
        )
        os.kill(os.getpid(), signal.SIGKILL)

    timer = threading.Event()  # never set
    threading.Thread(target=watch, name="groundswell-memory", daemon=True).start()
