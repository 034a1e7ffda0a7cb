"""Sources of a stream's examples: all of them in memory, or blocks of a large view that are read on demand.

Rows are numbered by content (`content_blocks`). Promise: memory is bounded by `keep` blocks, whatever the size of the
view. A block is read once, however many threads need it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np
import pyarrow as pa

from engine.views import View
from schemas.rows import ViewRow, rows_of
from student.data.content_blocks import Blocks
from student.data.examples import TrainingExample

_COLUMNS = ("unit", "key", "pixels", "image_sha256", "caption", "phrases", "regions")
MakeExample = Callable[[ViewRow], TrainingExample]


class ExampleSource(Protocol):
    """Examples by row number."""

    def __getitem__(self, row: int) -> TrainingExample:
        """Return the example of a row."""

    def __len__(self) -> int:
        """Return the number of rows, unused ones included."""

    def peers(self, row: int) -> range:
        """Return the rows that are cheap to read after this one. Their captions are packed with its caption."""


class MemorySource:
    """The examples of a small stream."""

    def __init__(self, examples: Sequence[TrainingExample]) -> None:
        self._examples = tuple(examples)

    def __getitem__(self, row: int) -> TrainingExample:
        return self._examples[row]

    def __len__(self) -> int:
        return len(self._examples)

    def peers(self, row: int) -> range:
        """Return all rows."""
        return range(len(self._examples))


class BlockSource:
    """The examples of a large stream: a cache of blocks as compact tables, least recently used ones evicted first."""

    def __init__(self, view: View, blocks: Blocks, keep: int, make: MakeExample) -> None:
        self._view, self._blocks, self._keep, self._make = view, blocks, keep, make
        self._first_row = blocks.first_row
        rows = [part.rows for part in view.manifest.parts]
        self._first_of_part = np.concatenate([[0], np.cumsum(rows)])
        self._cache: OrderedDict[int, Future[pa.Table]] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, row: int) -> TrainingExample:
        block = self._block_of(row)
        position = row - int(self._first_row[block])
        return self._make(rows_of(self._table(block).slice(position, 1), ViewRow)[0])

    def __len__(self) -> int:
        return int(self._first_row[-1])

    def peers(self, row: int) -> range:
        """Return the rows of its block."""
        block = self._block_of(row)
        return range(int(self._first_row[block]), int(self._first_row[block + 1]))

    def _block_of(self, row: int) -> int:
        return int(np.searchsorted(self._first_row, row, side="right")) - 1

    def _table(self, block: int) -> pa.Table:
        with self._lock:
            entry = self._cache.get(block)
            if is_missing := entry is None:
                entry = self._cache[block] = Future()
            self._cache.move_to_end(block)
            while len(self._cache) > self._keep:
                self._cache.popitem(last=False)
        assert entry is not None
        if is_missing:
            self._fill(block, entry)
        return entry.result()

    def _fill(self, block: int, entry: Future[pa.Table]) -> None:
        """Read the block. Forget a block that cannot be read, so that the next caller tries again."""
        try:
            entry.set_result(self._read(block))
        except BaseException as error:
            with self._lock:
                self._cache.pop(block, None)
            entry.set_exception(error)

    def _read(self, block: int) -> pa.Table:
        first = int(self._blocks.file_row[block])
        end = first + int(self._blocks.count[block])
        part = int(np.searchsorted(self._first_of_part, first, side="right")) - 1
        pieces = []
        while first < end:
            start, stop = (int(edge) for edge in self._first_of_part[part : part + 2])
            rows = np.arange(first - start, min(end, stop) - start)
            # `take` copies: a slice would keep the whole part in memory
            pieces.append(self._view.table(part).select(list(_COLUMNS)).take(rows))
            first, part = stop, part + 1
        return pa.concat_tables(pieces).combine_chunks()
