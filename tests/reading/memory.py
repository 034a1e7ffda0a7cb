"""The peak memory of some code, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_CHILD = """
import sys
from pathlib import Path
{setup}
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024
before = held("VmRSS")
{code}
print(held("VmHWM") - before)
"""


def grown_mib(setup: str, code: str, *arguments: str) -> float:
    """Return the MiB by which the peak rises above the memory after `setup`; both see `sys.argv[1:]`."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD.format(setup=setup, code=code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return float(done.stdout.split()[-1])
