"""The mixture: which stream fills each slot, computed from the sizes of the streams and the settings.

Slots are dealt by quota, so every range of slots has each stream in its share. A stream at its limit gets no more
slots, and the others take over its share. Everything is arithmetic on the slot number.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import ConfigError
from student.data.streams import Stream
from student.settings.streams import MixtureSettings, StreamSettings
from student.settings.train import TrainSettings


def compute_shares(
    streams: Sequence[StreamSettings], mixture: MixtureSettings, sizes: Sequence[int]
) -> list[float]:
    """Return each stream's share of the slots. The shares add up to 1.

    sizes: entries of an epoch, repeats included
    """
    if mixture.temperature is not None:
        parts = [size ** (1 / mixture.temperature) for size in sizes]
    elif all(stream.per_epoch is not None for stream in streams):
        parts = [(stream.per_epoch or 0) * size for stream, size in zip(streams, sizes, strict=True)]
    else:
        parts = [stream.share or 0 for stream in streams]
    return [part / sum(parts) for part in parts]


def make_mixture(settings: TrainSettings, streams: Sequence[Stream]) -> Mixture:
    """Return the mixture of a run. Raise ConfigError if the limits of its streams end it before the last step."""
    sizes = [len(stream.order) for stream in streams]
    stream_settings = [stream.settings for stream in streams]
    limits = [sample_limit(one, size) for one, size in zip(stream_settings, sizes, strict=True)]
    mixture = Mixture(compute_shares(stream_settings, settings.mixture, sizes), limits)
    needed = settings.steps * settings.batch_size
    if mixture.slots is not None and mixture.slots < needed:
        raise ConfigError(
            f"{settings.steps} steps of {settings.batch_size} need {needed} samples, the mixture ends after "
            f"{mixture.slots}: raise max_epochs or max_samples of a stream, or lower steps"
        )
    return mixture


def sample_limit(stream: StreamSettings, size: int) -> int | None:
    """Return how many samples a stream may give in total; None: no limit."""
    limits = [stream.max_samples] if stream.max_samples is not None else []
    if stream.max_epochs is not None:
        limits.append(math.ceil(stream.max_epochs * size - 1e-9))
    return min(limits, default=None)


@dataclass(frozen=True)
class _Segment:
    """Slots from `first` on go to `streams` in `shares`. Stream s of all streams filled `filled[s]` slots before."""

    first: int
    streams: tuple[int, ...]
    shares: tuple[float, ...]
    filled: tuple[int, ...]


class Mixture:
    """Which stream fills a slot, and with which of its samples."""

    def __init__(self, shares: Sequence[float], limits: Sequence[int | None]) -> None:
        self.shares = tuple(shares)
        self._segments, self.slots = _make_segments(shares, limits)
        self._firsts = [segment.first for segment in self._segments]

    def locate(self, slot: int) -> tuple[int, int]:
        """Return (stream, number of earlier slots of that stream). Raise IndexError after the last slot."""
        if self.slots is not None and slot >= self.slots:
            raise IndexError(f"slot {slot} is outside the mixture, which ends after {self.slots} samples")
        segment = self._segments[bisect_right(self._firsts, slot) - 1]
        number, earlier = locate_slot(slot - segment.first, segment.shares)
        stream = segment.streams[number]
        return stream, segment.filled[stream] + earlier


def _make_segments(
    shares: Sequence[float], limits: Sequence[int | None]
) -> tuple[list[_Segment], int | None]:
    """Return the segments, and the total number of slots (None: endless)."""
    first, filled = 0, [0] * len(shares)
    left = list(range(len(shares)))
    segments: list[_Segment] = []
    while left:
        total = sum(shares[stream] for stream in left)
        own = tuple(shares[stream] / total for stream in left)
        segments.append(_Segment(first, tuple(left), own, tuple(filled)))
        room = [
            (place, limit - filled[stream])
            for place, stream in enumerate(left)
            if (limit := limits[stream]) is not None
        ]
        if not room:
            return segments, None
        length = min(_slots_until(own, place, number) for place, number in room)
        for place, number in enumerate(count_slots(length, own)):
            filled[left[place]] += number
        first += length
        left = [stream for stream in left if filled[stream] != limits[stream]]
    return segments, first


def _slots_until(shares: Sequence[float], place: int, number: int) -> int:
    """Return the smallest number of slots in which one stream gets `number` of them."""
    low, high = number, number + 1
    while count_slots(high, shares)[place] < number:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if count_slots(middle, shares)[place] < number:
            low = middle + 1
        else:
            high = middle
    return low


def locate_slot(slot: int, shares: Sequence[float]) -> tuple[int, int]:
    """Return (stream, number of earlier slots of that stream) of a slot. The shares add up to 1.

    The quota of the first stream up to slot n is floor(n * share + 1/2). The other streams share the rest likewise.
    """
    left = 1.0
    for stream, share in enumerate(shares[:-1]):
        rate = share / left
        before, after = _quota(slot, rate), _quota(slot + 1, rate)
        if after > before:
            return stream, before
        slot -= before
        left -= share
    return len(shares) - 1, slot


def count_slots(slots: int, shares: Sequence[float]) -> list[int]:
    """Return how many of the first `slots` slots each stream has."""
    counts, left = [], 1.0
    for share in shares[:-1]:
        counts.append(_quota(slots, share / left))
        slots -= counts[-1]
        left -= share
    return [*counts, slots]


def _quota(slots: int, rate: float) -> int:
    # The small addend keeps a product such as 0.3 * 5 from being rounded to either side of its exact half.
    return min(slots, math.floor(slots * rate + 0.5 + 1e-9))
