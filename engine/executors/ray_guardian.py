"""The guardian of a Ray cluster that a driver starts: when the driver is gone, it kills what the raylet started.

A script of its own, run as `python -I -S ray_guardian.py`; it imports next to nothing. Standard input is a pipe that
only the driver can close, and tells the raylet's process id, which is that of its session. Without the guardian, two
agents of Ray live on for a minute after a driver that was killed.
"""

import os
import signal
import time

_GIVE_UP_S = 8.0
_EVERY_S = 0.1


def session_of(process: str) -> str:
    """Return the session id of a process; '' for one that is gone or dead."""
    try:
        with open(f"/proc/{process}/stat") as file:
            state, _, _, session, *_ = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else session


def end_sessions(sessions: set[str]) -> None:
    """Kill all processes of the sessions, and again until there are none: one may just be starting another."""
    deadline = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < deadline:
        found = [name for name in os.listdir("/proc") if name.isdigit() and session_of(name) in sessions]
        if not found:
            return
        for process in found:
            try:
                os.kill(int(process), signal.SIGKILL)
            except OSError:
                continue
        time.sleep(_EVERY_S)


def main() -> None:
    """Wait for the driver's end; then end the sessions that it told."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends the driver must not end us before it
    told = b""
    while part := os.read(0, 4096):
        told += part
    end_sessions(set(told.decode().split()))


if __name__ == "__main__":
    main()
