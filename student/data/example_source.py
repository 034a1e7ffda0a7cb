"""Where a stream's examples come from: all of them in memory, or blocks of a large view that are read when needed.

Rows are numbered by content (`mixture_blocks`). Its promise: memory is bounded by `keep` blocks, whatever the view's
size, and a block is read once however many threads ask for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from engine.views import View
from student.data.content_blocks import Blocks
from student.data.examples import Example

_COLUMNS = ("unit", "key", "pixels", "image_sha256", "caption", "phrases", "regions")
MakeExample = Callable[[dict[str, Any]], Example]


class Source(Protocol):
    """Examples by row number."""

    def __getitem__(self, row: int) -> Example:
        """The example of a row."""

    def __len__(self) -> int:
        """Rows in all, unused ones too."""

    def peers(self, row: int) -> range:
        """Rows that are cheap to read once this row was: whose captions are packed around its own."""


class InMemory:
    """A small stream."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = tuple(examples)

    def __getitem__(self, row: int) -> Example:
        return self._examples[row]

    def __len__(self) -> int:
        return len(self._examples)

    def peers(self, row: int) -> range:
        """All rows."""
        return range(len(self._examples))


class FromBlocks:
    """A large stream: its blocks as compact tables, the least recently used ones given up."""

    def __init__(self, view: View, blocks: Blocks, keep: int, make: MakeExample) -> None:
        self._view, self._blocks, self._keep, self._make = view, blocks, keep, make
        self._first_row = blocks.first_row
        rows = [part.rows for part in view.manifest.parts]
        self._first_of_part = np.concatenate([[0], np.cumsum(rows)])
        self._held: OrderedDict[int, Future[pa.Table]] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, row: int) -> Example:
        block = self._block_of(row)
        place = row - int(self._first_row[block])
        return self._make(self._table(block).slice(place, 1).to_pylist()[0])

    def __len__(self) -> int:
        return int(self._first_row[-1])

    def peers(self, row: int) -> range:
        """The rows of its block."""
        block = self._block_of(row)
        return range(int(self._first_row[block]), int(self._first_row[block + 1]))

    def _block_of(self, row: int) -> int:
        return int(np.searchsorted(self._first_row, row, side="right")) - 1

    def _table(self, block: int) -> pa.Table:
        with self._lock:
            held = self._held.get(block)
            if mine := held is None:
                held = self._held[block] = Future()
            self._held.move_to_end(block)
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        assert held is not None
        if mine:
            self._fill(block, held)
        return held.result()

    def _fill(self, block: int, held: Future[pa.Table]) -> None:
        """Read the block; one that cannot be read is forgotten, so that it is tried again."""
        try:
            held.set_result(self._read(block))
        except BaseException as error:
            with self._lock:
                self._held.pop(block, None)
            held.set_exception(error)

    def _read(self, block: int) -> pa.Table:
        first = int(self._blocks.file_row[block])
        end = first + int(self._blocks.count[block])
        part = int(np.searchsorted(self._first_of_part, first, side="right")) - 1
        pieces = []
        while first < end:
            start, stop = (int(edge) for edge in self._first_of_part[part : part + 2])
            taken = np.arange(first - start, min(end, stop) - start)
            # `take` copies: a slice would keep the whole part in memory
            pieces.append(self._view.table(part).select(list(_COLUMNS)).take(taken))
            first, part = stop, part + 1
        return pa.concat_tables(pieces).combine_chunks()
