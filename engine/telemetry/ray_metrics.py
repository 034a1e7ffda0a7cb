"""The meter on Ray: counters and times at each node's metrics port, where Prometheus finds them as `ray_groundswell_*`.

Promise: a number that cannot be told to Ray is dropped; counting never fails a unit.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from ray.util import metrics

from engine.telemetry.metrics import BOUNDS_S, COUNTERS, TIMES


class RayMeter:
    """See `engine.telemetry.metrics.Meter`. To be made in a process that is connected to Ray."""

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        """See Meter."""
        if number > 0:
            with suppress(Exception):
                _counter(name).inc(number, tags=labels)

    def observe(self, name: str, seconds: float) -> None:
        """See Meter."""
        with suppress(Exception):
            _histogram(name).observe(max(seconds, 0.0))


@cache
def _counter(name: str) -> metrics.Counter:
    about, labels = COUNTERS[name]
    return metrics.Counter(name, description=about, tag_keys=labels)


@cache
def _histogram(name: str) -> metrics.Histogram:
    return metrics.Histogram(name, description=TIMES[name], boundaries=list(BOUNDS_S))
