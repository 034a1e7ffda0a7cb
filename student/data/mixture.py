"""The mixture: from what streams hold and what is asked of them to the stream that fills each slot.

Slots are dealt by quota, so every stretch of slots holds each stream in its share. A stream that has given all that
it may is left out from there on, and its share is dealt to the others. All of it is arithmetic on the slot's number.
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


def resolved_shares(
    streams: Sequence[StreamSettings], mixture: MixtureSettings, sizes: Sequence[int]
) -> list[float]:
    """The share of each stream of the slots, adding up to 1; `sizes` are entries of an epoch, repeats included."""
    if mixture.temperature is not None:
        parts = [size ** (1 / mixture.temperature) for size in sizes]
    elif all(stream.per_epoch is not None for stream in streams):
        parts = [(stream.per_epoch or 0) * size for stream, size in zip(streams, sizes, strict=True)]
    else:
        parts = [stream.share or 0 for stream in streams]
    return [part / sum(parts) for part in parts]


def mixture_of(settings: TrainSettings, streams: Sequence[Stream]) -> Mixture:
    """The mixture of a run. Raises ConfigError where its streams' limits end it before its last step."""
    sizes = [len(stream.order) for stream in streams]
    asked = [stream.settings for stream in streams]
    limits = [sample_limit(one, size) for one, size in zip(asked, sizes, strict=True)]
    mixture = Mixture(resolved_shares(asked, settings.mixture, sizes), limits)
    needed = settings.steps * settings.batch_size
    if mixture.slots is not None and mixture.slots < needed:
        raise ConfigError(
            f"{settings.steps} steps of {settings.batch_size} need {needed} samples, the mixture ends after "
            f"{mixture.slots}: raise max_epochs or max_samples of a stream, or lower steps"
        )
    return mixture


def sample_limit(stream: StreamSettings, size: int) -> int | None:
    """How many samples a stream may give in all; None: no end."""
    limits = [stream.max_samples] if stream.max_samples is not None else []
    if stream.max_epochs is not None:
        limits.append(math.ceil(stream.max_epochs * size - 1e-9))
    return min(limits, default=None)


@dataclass(frozen=True)
class _Stretch:
    """Slots from `first` on are dealt to `streams` in `shares`; `given` is what each stream of all gave before."""

    first: int
    streams: tuple[int, ...]
    shares: tuple[float, ...]
    given: tuple[int, ...]


class Mixture:
    """Which stream fills a slot, and as its how-manieth sample."""

    def __init__(self, shares: Sequence[float], limits: Sequence[int | None]) -> None:
        self.shares = tuple(shares)
        self._stretches, self.slots = _stretches(shares, limits)
        self._firsts = [stretch.first for stretch in self._stretches]

    def at(self, slot: int) -> tuple[int, int]:
        """(stream, how many earlier slots it had). Raises IndexError beyond the last slot of a capped mixture."""
        if self.slots is not None and slot >= self.slots:
            raise IndexError(f"the mixture ends after {self.slots} samples, slot {slot} is beyond")
        stretch = self._stretches[bisect_right(self._firsts, slot) - 1]
        number, earlier = stream_of_slot(slot - stretch.first, stretch.shares)
        stream = stretch.streams[number]
        return stream, stretch.given[stream] + earlier


def _stretches(shares: Sequence[float], limits: Sequence[int | None]) -> tuple[list[_Stretch], int | None]:
    """The stretches, and the number of slots in all (None: endless)."""
    first, given = 0, [0] * len(shares)
    left = list(range(len(shares)))
    stretches: list[_Stretch] = []
    while left:
        total = sum(shares[stream] for stream in left)
        own = tuple(shares[stream] / total for stream in left)
        stretches.append(_Stretch(first, tuple(left), own, tuple(given)))
        room = [
            (place, limit - given[stream])
            for place, stream in enumerate(left)
            if (limit := limits[stream]) is not None
        ]
        if not room:
            return stretches, None
        length = min(_slots_until(own, place, number) for place, number in room)
        for place, number in enumerate(slots_given(length, own)):
            given[left[place]] += number
        first += length
        left = [stream for stream in left if given[stream] != limits[stream]]
    return stretches, first


def _slots_until(shares: Sequence[float], place: int, number: int) -> int:
    """The fewest slots in which one stream gets `number` of them."""
    low, high = number, number + 1
    while slots_given(high, shares)[place] < number:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if slots_given(middle, shares)[place] < number:
            low = middle + 1
        else:
            high = middle
    return low


def stream_of_slot(slot: int, shares: Sequence[float]) -> tuple[int, int]:
    """(stream, how many earlier slots that stream had) of a slot. Shares add up to 1.

    The first stream's quota up to slot n is floor(n * share + 1/2); what it leaves is dealt to the others likewise.
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


def slots_given(slots: int, shares: Sequence[float]) -> list[int]:
    """How many of the first `slots` slots each stream has."""
    given, left = [], 1.0
    for share in shares[:-1]:
        given.append(_quota(slots, share / left))
        slots -= given[-1]
        left -= share
    return [*given, slots]


def _quota(slots: int, rate: float) -> int:
    # The nudge keeps a product such as 0.3 * 5 from landing on either side of its true half.
    return min(slots, math.floor(slots * rate + 0.5 + 1e-9))
