"""A meter on Ray: counters and times at each node's metrics port, as `ray_groundswell_*` for Prometheus.

A number that Ray does not accept is dropped, so counting never fails a unit.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from ray.util import metrics

from engine.telemetry.metrics import BOUNDS_S, COUNTERS, TIMES


class RayMeter:
    """A `Meter` on Ray. Construct it in a process that is connected to Ray."""

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        """Add to a counter of Ray."""
        if number > 0:
            with suppress(Exception):
                _counter(name).inc(number, tags=labels)

    def observe(self, name: str, seconds: float) -> None:
        """Observe one time in a histogram of Ray."""
        with suppress(Exception):
            _histogram(name).observe(max(seconds, 0.0))


@cache
def _counter(name: str) -> metrics.Counter:
    description, labels = COUNTERS[name]
    return metrics.Counter(name, description=description, tag_keys=labels)


@cache
def _histogram(name: str) -> metrics.Histogram:
    return metrics.Histogram(name, description=TIMES[name], boundaries=list(BOUNDS_S))
