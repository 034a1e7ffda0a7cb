"""The order of a stream's examples: a pure function of (content, seed, epoch, place), equal in every process.

A stream that stays in memory is shuffled as a whole. A larger one is shuffled while it is read. Its blocks (runs of
adjacent rows) come in a new order every epoch. The rows of each block are distributed evenly over the next `window`
places for blocks. So a short range of the order has rows of `window` blocks, and no more blocks are open at a time.
"""

# n rows of a block, K blocks of the window
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray

from schemas.errors import ConfigError

RowNumbers = NDArray[np.int64]


def worker_slots(step: int, batch_size: int, rank: int, workers: int) -> range:
    """Return the slots that one of several workers fills in a step: a contiguous share of the step's slots.

    raises: ConfigError if batch_size is not a multiple of workers
    """
    if batch_size % workers:
        raise ConfigError(
            f"batch_size ({batch_size}) cannot be shared by {workers} workers: choose a multiple of {workers}"
        )
    share = batch_size // workers
    first = step * batch_size + rank * share
    return range(first, first + share)


def slot_generator(seed: int, slot: int, use: str) -> np.random.Generator:
    """Return a slot's random stream for one use ("prompt", "motion"), independent of data, step and worker."""
    return random_generator(use, seed, slot)


def random_generator(*key: str | int) -> np.random.Generator:
    """Return a random stream that is a pure function of its key."""
    word = hashlib.sha256("/".join(map(str, key)).encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(cast(np.random.SeedSequence, _Key(word))))


class _Key(ISeedSequence):
    """The equivalent of `Philox(key=...)` without system entropy, which numpy reads and ignores with a `key`."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[np.uint64]:
        return np.frombuffer(self._word, dtype="<u8")


class Order(Protocol):
    """An endless order of a stream's rows, epoch by epoch."""

    def __len__(self) -> int:
        """Return the number of entries of an epoch, repeats included."""

    def row(self, ordinal: int, key: str, seed: int) -> int:
        """Return the row at position `ordinal`. Two uses of one stream differ in `key`."""


class WholeOrder:
    """`entries` (rows, repeats included) in a new seeded order every epoch."""

    def __init__(self, entries: Sequence[int] | RowNumbers, digest: str) -> None:
        self.entries = np.asarray(entries, dtype=np.int64)
        self._digest = digest
        self._epoch = lru_cache(maxsize=4)(self._shuffle_epoch)

    def __reduce__(self) -> tuple[type[WholeOrder], tuple[RowNumbers, str]]:
        return WholeOrder, (self.entries, self._digest)  # without its cache, which cannot be pickled

    def __len__(self) -> int:
        return len(self.entries)

    def row(self, ordinal: int, key: str, seed: int) -> int:
        """Return the row as `Order.row`."""
        epoch, place = divmod(ordinal, len(self.entries))
        return int(self._epoch(key, seed, epoch)[place])

    def _shuffle_epoch(self, key: str, seed: int, epoch: int) -> RowNumbers:
        rng = random_generator("epoch", key, self._digest, seed, epoch)
        return self.entries[rng.permutation(len(self.entries))]


@dataclass(frozen=True)
class _Epoch:
    """One epoch's order of blocks, and how many entries come before each place of a block."""

    blocks: RowNumbers
    before: RowNumbers


class WindowOrder:
    """The order of a large stream. Blocks are numbered by content, rows through the blocks."""

    def __init__(self, first_row: RowNumbers, repeats: NDArray[np.uint8], window: int, digest: str) -> None:
        """Prepare the order.

        first_row: first row of each block, and one more at the end
        repeats:   repeats of each row, 0 for a row that is not used
        """
        self._first_row, self._repeats, self._digest = first_row, repeats, digest
        entries_before = np.concatenate([[0], np.cumsum(repeats, dtype=np.int64)])
        self._sizes = np.diff(entries_before[first_row])
        self.window = min(window, len(self._sizes))
        self._total = int(self._sizes.sum())
        self._epoch = lru_cache(maxsize=4)(self._order_blocks)
        self._place = lru_cache(maxsize=8)(self._shuffle_place)

    def __len__(self) -> int:
        return self._total

    def row(self, ordinal: int, key: str, seed: int) -> int:
        """Return the row as `Order.row`."""
        number, left = divmod(ordinal, self._total)
        before = self._epoch(key, seed, number).before
        place = int(np.searchsorted(before, left, side="right")) - 1
        return int(self._place(key, seed, number, place)[left - int(before[place])])

    def _order_blocks(self, key: str, seed: int, epoch: int) -> _Epoch:
        blocks = random_generator("blocks", key, self._digest, seed, epoch).permutation(len(self._sizes))
        sizes, total = self._sizes[blocks], np.zeros(len(blocks), dtype=np.int64)
        for part in range(self.window):  # the later parts of the last blocks come first: the order is a ring
            total += np.roll(self._part_start(sizes, part + 1) - self._part_start(sizes, part), part)
        return _Epoch(blocks, np.concatenate([[0], np.cumsum(total)]))

    def _part_start(self, sizes: RowNumbers, part: int) -> RowNumbers:
        """Return how many entries of a block are in the parts before `part`."""
        return sizes * part // self.window

    def _shuffle_place(self, key: str, seed: int, epoch: int, place: int) -> RowNumbers:
        """Return the entries of one place: one part of each of the `window` blocks up to it."""
        blocks = self._epoch(key, seed, epoch).blocks
        pieces = []
        for part in range(self.window):
            block = int(blocks[(place - part) % len(blocks)])
            size = self._sizes[block]
            piece = slice(int(self._part_start(size, part)), int(self._part_start(size, part + 1)))
            pieces.append(self._shuffle_block(key, seed, epoch, block)[piece])
        rows = np.concatenate(pieces)
        return rows[random_generator("place", key, self._digest, seed, epoch, place).permutation(len(rows))]

    def _shuffle_block(self, key: str, seed: int, epoch: int, block: int) -> RowNumbers:
        """Return a block's rows, repeats included, in an order of their own."""
        first, end = int(self._first_row[block]), int(self._first_row[block + 1])
        entries = np.repeat(np.arange(first, end), self._repeats[first:end])
        rng = random_generator("rows", key, self._digest, seed, epoch, block)
        return entries[rng.permutation(len(entries))]
