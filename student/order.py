"""Which image fills which slot: a pure function of (data digests, seed, step, index in the batch).

Slots are dealt to streams by quota, so every stretch of slots holds each stream in its share, and a stream hands out
its images epoch by epoch, each once per epoch (times its repeats).
"""

# n: number of a slot, counted over all batches: step * batch_size + index
from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from schemas.errors import ConfigError


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


def _quota(slots: int, rate: float) -> int:
    # The nudge keeps a product such as 0.3 * 5 from landing on either side of its true half.
    return math.floor(slots * rate + 0.5 + 1e-9)


def example_at(ordinal: int, entries: Sequence[int], digest: str, seed: int) -> int:
    """The `ordinal`-th example of a stream: `entries` (repeats included) in a new seeded order every epoch."""
    epoch, place = divmod(ordinal, len(entries))
    return entries[_permutation(len(entries), digest, seed, epoch)[place]]


@lru_cache(maxsize=8)
def _permutation(size: int, digest: str, seed: int, epoch: int) -> np.ndarray:
    return generator("epoch", digest, seed, epoch).permutation(size)


def slots_of(step: int, batch_size: int, rank: int, workers: int) -> range:
    """The slots that one of several workers fills in a step: a contiguous share of the step's.

    raises: ConfigError when the batch cannot be shared out evenly
    """
    if batch_size % workers:
        raise ConfigError(
            f"batch_size {batch_size} cannot be shared by {workers} workers: choose a multiple of {workers}"
        )
    share = batch_size // workers
    first = step * batch_size + rank * share
    return range(first, first + share)


def slot_generator(seed: int, slot: int, use: str) -> np.random.Generator:
    """A slot's random stream for one use ("prompt", "motion"): it knows nothing of the data, step or worker."""
    return generator(use, seed, slot)


def generator(*key: object) -> np.random.Generator:
    """A random stream that is a pure function of its key."""
    word = hashlib.sha256("/".join(str(part) for part in key).encode()).digest()[:16]
    return np.random.Generator(np.random.PCG64(int.from_bytes(word, "big")))
