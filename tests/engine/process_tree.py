"""The descendants of a process, to check that none of them outlives it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process; `started` distinguishes it from a later one with the same number."""

    number: int
    started: int
    name: str
    parent: int
    session: int


class Tree:
    """Every descendant of `root`, and the processes of their sessions, as far as `look` found them alive."""

    def __init__(self, root: int) -> None:
        self._root = root
        self.found: dict[tuple[int, int], Process] = {}

    def look(self) -> None:
        """Record the processes that are alive now."""
        living = [process for name in os.listdir("/proc") if name.isdigit() and (process := read(int(name)))]
        family = {self._root} | {process.number for process in self.found.values()}
        while new := {process.number for process in living if process.parent in family} - family:
            family |= new
        sessions = {process.session for process in living if process.number in family} - {os.getsid(0)}
        for process in living:
            if process.number != self._root and (process.number in family or process.session in sessions):
                self.found[process.number, process.started] = process  # its name may have changed

    def names(self) -> set[str]:
        """Return the kernel's short names of the processes found so far."""
        return {process.name for process in self.found.values()}

    def left_after(self, seconds: float) -> list[Process]:
        """Return the living processes when all are gone or after that time."""
        deadline = time.monotonic() + seconds
        while left := self._left():
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return left

    def _left(self) -> list[Process]:
        self.look()
        now = {key: read(key[0]) for key in self.found}
        return [process for (_, started), process in now.items() if process and process.started == started]


def read(number: int) -> Process | None:
    """Return a living process, or None."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    state, parent, _, session, *rest = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else Process(number, int(rest[15]), name, int(parent), int(session))
