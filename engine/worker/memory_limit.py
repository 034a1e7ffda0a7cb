"""How much memory a process holds, and an end for one that holds too much.

Promise: a process that outgrows its limit ends at once, before the machine's other processes suffer. Linux only;
elsewhere nothing is known and nothing ends.
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
    """Resident size of a process; 0 for one that is gone, or where nothing tells."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def moved_mib() -> int:
    """MiB that this process has read and written so far: a sign of life while a shard is fetched or indexed."""
    try:
        lines = Path("/proc/self/io").read_text().split()
        return (int(lines[1]) + int(lines[3])) >> 20
    except (OSError, IndexError, ValueError):
        return 0


def end_above(limit_bytes: int) -> None:
    """Watch this process from a thread; SIGKILL it above the limit. Its unit is isolated then."""

    def watch() -> None:
        while (held := resident_bytes()) <= limit_bytes:
            never.wait(CHECK_EVERY_S)
        print(
            f"ended at {held / 2**30:.2f} GiB, run.memory_limit_gb allows {limit_bytes / 2**30:.2f}",
            file=sys.stderr,
            flush=True,
        )
        os.kill(os.getpid(), signal.SIGKILL)

    never = threading.Event()
    threading.Thread(target=watch, name="groundswell-memory", daemon=True).start()
