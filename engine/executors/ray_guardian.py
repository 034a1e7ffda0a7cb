"""The guardian of a Ray cluster that a driver starts: when the driver is gone, it kills what the raylet started.

It is a script, run as `python -I -S ray_guardian.py`, and imports next to nothing. Standard input is a pipe that only
the driver can close. The pipe names the raylet's process id, which is also the id of its session. Without the
guardian, two agents of Ray live on for a minute after a driver that was killed.
"""

import os
import signal
import time

_GIVE_UP_S = 8.0
_EVERY_S = 0.1


def session_of(process: str) -> str:
    """Return the session id of a process, or '' if the process is gone or dead."""
    try:
        with open(f"/proc/{process}/stat") as file:
            state, _, _, session, *_ = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else session


def end_sessions(sessions: set[str]) -> None:
    """Kill all processes of the sessions. Repeat until there are none, since a process may be starting another one."""
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
    """Wait for the driver's end, then end the sessions that it named."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a signal that ends the driver must not end the guardian first
    sessions = b""
    while part := os.read(0, 4096):
        sessions += part
    end_sessions(set(sessions.decode().split()))


if __name__ == "__main__":
    main()
