"""Which example of a stream comes when: a pure function of (content, seed, epoch, place), whoever asks and wherever.

A stream that stays in memory is shuffled whole. A larger one is shuffled as it is read: its blocks (runs of rows that
lie together) come in a new order every epoch, and each block's rows are dealt evenly over the next `window` places
for blocks, so that a short stretch of the order holds rows of `window` blocks, and no more are open at a time.
"""

# n rows of a block, K blocks of the window
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from schemas.errors import ConfigError

Rows = NDArray[np.int64]


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
    word = hashlib.sha256("/".join(map(str, key)).encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(_Key(word)))


class _Key(ISeedSequence):
    """What `Philox(key=...)` takes, without the system's entropy that numpy would fetch and drop beside a `key`."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[np.uint64]:
        return np.frombuffer(self._word, dtype="<u8")


class Order(Protocol):
    """An endless order of a stream's rows, epoch by epoch."""

    def __len__(self) -> int:
        """Entries of an epoch, repeats included."""

    def row(self, ordinal: int, key: str, seed: int) -> int:
        """The row that comes `ordinal`-th; `key` tells apart two uses of one stream."""


class WholeOrder:
    """`entries` (rows, repeats included) in a new seeded order every epoch."""

    def __init__(self, entries: Sequence[int] | Rows, digest: str) -> None:
        self.entries = np.asarray(entries, dtype=np.int64)
        self._digest = digest
        self._epoch = lru_cache(maxsize=4)(self._shuffled)

    def __reduce__(self) -> tuple[type[WholeOrder], tuple[Rows, str]]:
        return WholeOrder, (self.entries, self._digest)  # without its cache, which no pickle holds

    def __len__(self) -> int:
        return len(self.entries)

    def row(self, ordinal: int, key: str, seed: int) -> int:
        """As `Order.row`."""
        epoch, place = divmod(ordinal, len(self.entries))
        return int(self._epoch(key, seed, epoch)[place])

    def _shuffled(self, key: str, seed: int, epoch: int) -> Rows:
        return self.entries[generator("epoch", key, self._digest, seed, epoch).permutation(len(self.entries))]


@dataclass(frozen=True)
class _Epoch:
    """One epoch's order of blocks, and how many entries come before each place of a block."""

    blocks: Rows
    before: Rows


class WindowOrder:
    """The order of a large stream. Blocks are numbered by content, rows through the blocks."""

    def __init__(self, first_row: Rows, repeats: NDArray[np.uint8], window: int, digest: str) -> None:
        """first_row: of each block, and one more at the end; repeats: of each row, 0 for one that is left out"""
        self._first_row, self._repeats, self._digest = first_row, repeats, digest
        entries_before = np.concatenate([[0], np.cumsum(repeats, dtype=np.int64)])
        self._sizes = np.diff(entries_before[first_row])
        self.window = min(window, len(self._sizes))
        self._total = int(self._sizes.sum())
        self._epoch = lru_cache(maxsize=4)(self._dealt)
        self._place = lru_cache(maxsize=8)(self._shuffled_place)

    def __len__(self) -> int:
        return self._total

    def row(self, ordinal: int, key: str, seed: int) -> int:
        """As `Order.row`."""
        number, left = divmod(ordinal, self._total)
        before = self._epoch(key, seed, number).before
        place = int(np.searchsorted(before, left, side="right")) - 1
        return int(self._place(key, seed, number, place)[left - int(before[place])])

    def _dealt(self, key: str, seed: int, epoch: int) -> _Epoch:
        blocks = generator("blocks", key, self._digest, seed, epoch).permutation(len(self._sizes))
        sizes, total = self._sizes[blocks], np.zeros(len(blocks), dtype=np.int64)
        for part in range(self.window):  # the last blocks' later parts come first: the order is a ring
            total += np.roll(self._cut(sizes, part + 1) - self._cut(sizes, part), part)
        return _Epoch(blocks, np.concatenate([[0], np.cumsum(total)]))

    def _cut(self, sizes: Rows, part: int) -> Rows:
        """How many of a block's entries its first parts hold."""
        return sizes * part // self.window

    def _shuffled_place(self, key: str, seed: int, epoch: int, place: int) -> Rows:
        """The entries of one place: one part each of the `window` blocks up to it."""
        blocks = self._epoch(key, seed, epoch).blocks
        pieces = []
        for part in range(self.window):
            block = int(blocks[(place - part) % len(blocks)])
            size = self._sizes[block]
            piece = slice(int(self._cut(size, part)), int(self._cut(size, part + 1)))
            pieces.append(self._entries(key, seed, epoch, block)[piece])
        rows = np.concatenate(pieces)
        return rows[generator("place", key, self._digest, seed, epoch, place).permutation(len(rows))]

    def _entries(self, key: str, seed: int, epoch: int, block: int) -> Rows:
        """A block's rows, repeats included, in an order of their own."""
        first, end = int(self._first_row[block]), int(self._first_row[block + 1])
        entries = np.repeat(np.arange(first, end), self._repeats[first:end])
        rng = generator("rows", key, self._digest, seed, epoch, block)
        return entries[rng.permutation(len(entries))]
