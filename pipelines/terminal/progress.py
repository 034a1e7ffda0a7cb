"""Print the progress of long work on stderr. docs/decisions/0010 says why not with `rich`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pipelines.terminal.output import is_live_terminal, print_message
from schemas.progress import ProgressCallback

_BAR_CHARACTERS = 24
_REDRAW_EVERY_S = 0.2
_is_muted: ContextVar[bool] = ContextVar("groundswell_progress_muted", default=False)


@contextmanager
def mute_progress(muted: bool) -> Iterator[None]:
    """Turn the progress output off (or on) within the block."""
    token = _is_muted.set(muted)
    try:
        yield
    finally:
        _is_muted.reset(token)


def is_progress_shown() -> bool:
    """Return whether the running verb may print progress."""
    return not _is_muted.get()


class ProgressPrinter:
    """Print progress with the time left: one redrawn line on a terminal, a plain line every few seconds elsewhere.

    Prints nothing within `mute_progress(True)`.
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self._is_live = is_live_terminal()
        self._every_s = _REDRAW_EVERY_S if self._is_live else every_s
        self._label = ""
        self._started_at = self._printed_at = 0.0
        self._is_shown = is_progress_shown()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `label` are finished."""
        now = time.monotonic()
        if label != self._label:
            self._label, self._started_at, self._printed_at = label, now, 0.0
        is_finished = total > 0 and done >= total
        if not self._is_shown or (not is_finished and now - self._printed_at < self._every_s):
            return
        self._printed_at = now
        self._print(self._format(label, done, total, now - self._started_at), is_finished)

    def _format(self, label: str, done: int, total: int, spent_s: float) -> str:
        left = f", {format_clock(spent_s / done * (total - done))} left" if 0 < done < total else ""
        full = round(min(done / total, 1.0) * _BAR_CHARACTERS) if total else 0
        bar = "█" * full + "░" * (_BAR_CHARACTERS - full) + " " if self._is_live else ""
        return f"{label}  {bar}{done}/{total}, {format_clock(spent_s)}{left}"

    def _print(self, line: str, is_finished: bool) -> None:
        if self._is_live:
            print(f"\r\x1b[2K{line}", end="\n" if is_finished else "", file=sys.stderr, flush=True)
        else:
            print_message(line)


def prefix_progress(progress: ProgressCallback, prefix: str) -> ProgressCallback:
    """Return a callback that puts `prefix: ` before each label."""

    def report(label: str, done: int, total: int) -> None:
        progress(f"{prefix}: {label}", done, total)

    return report


def format_clock(seconds: float) -> str:
    """Format a duration: 72 s is `1:12`."""
    whole = int(seconds + 0.5)
    return f"{whole // 60}:{whole % 60:02d}"
