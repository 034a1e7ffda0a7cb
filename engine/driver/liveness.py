"""Whether a worker moves: what its pulses told, and for how long nothing did.

Promise: only the driver's own monotonic clock is read, and a worker is called stuck by its progress, never by the time
a unit takes.
"""

from __future__ import annotations

from engine.settings import RunSettings

_ASKS_PER_PATIENCE = 10
_MOMENT_S = 2.0
_MOST_S, _SOON_S, _LEAST_S = 30.0, 1.0, 0.1


class Attention:
    """What a driver knows of one worker's progress. Times are monotonic seconds."""

    def __init__(self, run: RunSettings) -> None:
        self._run = run
        self._pulse: tuple[int, int] | None = None
        self._warm = False
        self._moved = self._asked = 0.0

    def begin(self, now: float) -> None:
        """The worker has got something to do, after it had nothing."""
        self._moved = self._asked = now

    def away(self, seconds: float) -> None:
        """The driver looked so long after its last look. Beyond a moment that is its own doing, and forgiven."""
        if seconds > _MOMENT_S:
            self._moved += seconds - _MOMENT_S

    def is_due(self, now: float, soon: bool = False) -> bool:
        """Whether to ask for a pulse; true at most once in a while, with `soon` once a second."""
        every_s = (
            _SOON_S if soon else min(max(self._run.stuck_after_s / _ASKS_PER_PATIENCE, _LEAST_S), _MOST_S)
        )
        if now - self._asked < every_s:
            return False
        self._asked = now
        return True

    def noted(self, pulse: tuple[int, int], now: float) -> None:
        """Take a pulse: (samples gone through, MiB moved)."""
        if pulse != self._pulse:
            self._pulse, self._moved = pulse, now
        self._warm = self._warm or pulse[0] > 0

    def stuck(self, now: float) -> str | None:
        """Why the worker is to be ended, None while it moves."""
        quiet_s = now - self._moved
        if quiet_s <= self._patience_s():
            return None
        return f"no progress for {quiet_s:.0f} s" + ("" if self._warm else ", the teacher was never ready")

    def _patience_s(self) -> float:
        return (
            self._run.stuck_after_s if self._warm else max(self._run.load_timeout_s, self._run.stuck_after_s)
        )
