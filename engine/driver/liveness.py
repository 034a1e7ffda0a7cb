"""Liveness of a worker: the driver asks for its progress, and calls it stuck if there is none for too long.

Only the driver's own monotonic clock is read. A worker is judged by its progress, never by the time that a unit
takes.
"""

from __future__ import annotations

from engine.settings import RunSettings

_PULSES_PER_TIMEOUT = 10
_FORGIVEN_S = 2.0
_MAX_INTERVAL_S, _SOON_INTERVAL_S, _MIN_INTERVAL_S = 30.0, 1.0, 0.1


class Liveness:
    """The progress of one worker as seen by the driver. Times are monotonic seconds."""

    def __init__(self, run: RunSettings) -> None:
        self._run = run
        self._heartbeat: tuple[int, int] | None = None
        self._is_warm = False
        self._progress_at = self._asked_at = 0.0

    def start(self, now: float) -> None:
        """Start the clock: the worker got a task after it had none."""
        self._progress_at = self._asked_at = now

    def forgive_absence(self, seconds: float) -> None:
        """Extend the timeout: the driver last looked so many seconds ago, which is not the worker's doing."""
        if seconds > _FORGIVEN_S:
            self._progress_at += seconds - _FORGIVEN_S

    def is_heartbeat_due(self, now: float, soon: bool = False) -> bool:
        """Return whether to ask for a heartbeat, and note that it was asked. soon: ask once a second."""
        interval_s = min(max(self._run.stuck_after_s / _PULSES_PER_TIMEOUT, _MIN_INTERVAL_S), _MAX_INTERVAL_S)
        if now - self._asked_at < (_SOON_INTERVAL_S if soon else interval_s):
            return False
        self._asked_at = now
        return True

    def record_heartbeat(self, heartbeat: tuple[int, int], now: float) -> None:
        """Record a heartbeat: (samples processed, MiB read and written) so far."""
        if heartbeat != self._heartbeat:
            self._heartbeat, self._progress_at = heartbeat, now
        self._is_warm = self._is_warm or heartbeat[0] > 0

    def explain_stuck(self, now: float) -> str | None:
        """Return why the worker is to be ended, or None while it makes progress."""
        quiet_s = now - self._progress_at
        if quiet_s <= self._timeout_s():
            return None
        return f"no progress for {quiet_s:.0f} s" + ("" if self._is_warm else ", the teacher was never ready")

    def _timeout_s(self) -> float:
        if self._is_warm:
            return self._run.stuck_after_s
        return max(self._run.load_timeout_s, self._run.stuck_after_s)
