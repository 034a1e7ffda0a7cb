"""Counters and times of the engine for monitoring; without a meter they cost nothing.

The value of a label is from a fixed list (fates, codes of `schemas.codes`), never from an input. So no key, URL or
caption becomes a time series.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from schemas.labeler import DecoyLabeler, Labeler, PreparedSample, get_needed_size
from schemas.ledger import SnapshotEntry
from schemas.records import Region, Sample

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "groundswell_samples_total": ("samples of committed units by fate", ("fate",)),
    "groundswell_rejected_total": ("rejected samples by reason code", ("code",)),
    "groundswell_regions_total": ("regions of committed units", ()),
    "groundswell_units_total": ("units by fate: committed, failed", ("fate",)),
    "groundswell_retries_total": ("retried attempts, by the code of their failure", ("code",)),
}
TIMES: dict[str, str] = {
    "groundswell_batch_seconds": "time of one forward pass with its pre- and post-processing",
    "groundswell_wait_seconds": "time that the teacher waited for its next batch of the same unit",
    "groundswell_unit_seconds": "time of the work on a unit's samples",
}
BOUNDS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)


class Meter(Protocol):
    """Receives numbers. Names are those of COUNTERS and TIMES."""

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, seconds: float) -> None:
        """Observe one time."""
        ...


class NullMeter:
    """A meter that drops all numbers."""

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        """Drop the number."""

    def observe(self, name: str, seconds: float) -> None:
        """Drop the time."""


def count_entry(meter: Meter, entry: SnapshotEntry) -> None:
    """Count a committed unit."""
    counts = entry.counts
    fates = {"labelled": counts.labelled, "empty": counts.empty, "rejected": sum(counts.rejected.values())}
    for fate, number in fates.items():
        meter.count("groundswell_samples_total", number, fate=fate)
    for code, number in counts.rejected.items():
        meter.count("groundswell_rejected_total", number, code=code)
    meter.count("groundswell_regions_total", entry.regions)
    meter.count("groundswell_units_total", 1, fate="committed")


class TimedLabeler:
    """Wraps a labeler to time its batches and its waiting between two batches."""

    def __init__(self, labeler: Labeler, meter: Meter) -> None:
        self._labeler, self._meter = labeler, meter
        self._ended: float | None = None
        self.digest, self.score_kind = labeler.digest, labeler.score_kind
        self.needed_size = get_needed_size(labeler)

    @property
    def batch_size(self) -> int:
        """The labeler's batch size; the engine may lower it."""
        return self._labeler.batch_size

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        self._labeler.batch_size = rows

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Prepare as the labeler does."""
        return self._labeler.prepare(sample, image_rgb_u8)

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Prepare as the labeler does, which must be a DecoyLabeler."""
        assert isinstance(self._labeler, DecoyLabeler)
        return self._labeler.prepare_decoys(sample, image_rgb_u8)

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Label as the labeler does, and observe the times."""
        began = time.perf_counter()
        if self._ended is not None:
            self._meter.observe("groundswell_wait_seconds", began - self._ended)
        try:
            return self._labeler.label(batch)
        finally:
            self._ended = time.perf_counter()
            self._meter.observe("groundswell_batch_seconds", self._ended - began)
