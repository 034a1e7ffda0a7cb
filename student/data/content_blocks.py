"""A view's rows in an order of content, independent of the location of the view and its images.

A view that stays in memory is ordered row by row. A larger one is ordered by blocks, runs of at most 1,024 rows of one
unit. Units are named by paths, so the view's own order depends on paths. But a unit has the same rows in any folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.digests import digest_of_many
from student.data.examples import row_digest
from student.data.order import RowNumbers

BLOCK_ROWS = 1024
_LEARNED = ("image_sha256", "caption", "phrases", "regions")
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Blocks:
    """Runs of a view's rows in the order of content: block b is rows file_row[b] .. + count[b] of the view."""

    file_row: RowNumbers
    count: RowNumbers
    digest: str

    @property
    def first_row(self) -> RowNumbers:
        """The number of each block's first row in the order of content, and one more: the total of rows."""
        return np.concatenate([[0], np.cumsum(self.count)])

    def reorder(self, values: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Return values of the view's rows in the order of content."""
        if len(self.count) == len(values):
            return values[self.file_row]
        pieces = [values[a : a + n] for a, n in zip(self.file_row, self.count, strict=True)]
        return np.concatenate(pieces)


def sort_blocks(runs: Iterable[tuple[str, int]]) -> Blocks:
    """Sort runs, given as (content key, rows) in the view's order. Runs of equal content keep the view's order."""
    keys, counts = zip(*runs, strict=True)
    count = np.array(counts, dtype=np.int64)
    file_row = np.cumsum(count) - count
    order = np.argsort(np.array(keys), kind="stable")
    return Blocks(file_row[order], count[order], digest_of_many(keys[i] for i in order))


def row_keys(table: pa.Table) -> Iterator[tuple[str, int]]:
    """Yield each row as a run of its own: (content key, 1)."""
    for batch in table.select(list(_LEARNED)).to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            yield row_digest(row), 1


def block_keys(tables: Iterable[pa.Table]) -> Iterator[tuple[str, int]]:
    """Yield (content key, rows) of runs of at most BLOCK_ROWS rows of one unit, independent of the view's parts."""
    open_run: list[pa.Table] = []
    unit, rows = None, 0
    for table in tables:
        for piece, piece_unit in _unit_runs(table):
            start = 0
            while start < len(piece):
                if rows and (piece_unit != unit or rows == BLOCK_ROWS):
                    yield content_key(pa.concat_tables(open_run)), rows
                    open_run, rows = [], 0
                added = min(BLOCK_ROWS - rows, len(piece) - start)
                open_run.append(piece.slice(start, added))
                unit, rows, start = piece_unit, rows + added, start + added
    if rows:
        yield content_key(pa.concat_tables(open_run)), rows


def _unit_runs(table: pa.Table) -> Iterator[tuple[pa.Table, str]]:
    units = table["unit"].combine_chunks()
    codes = units.dictionary_encode().indices.to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    learned = table.select(list(_LEARNED))
    for begin, end in zip(edges, edges[1:], strict=False):
        yield learned.slice(begin, end - begin), units[begin].as_py()


def content_key(table: pa.Table) -> str:
    """Return `sha256:<hex>` of the values of the learned columns, independent of their layout in Arrow."""
    digest = hashlib.sha256()
    for name in _LEARNED:
        _hash_array(digest, table[name].combine_chunks())
    return "sha256:" + digest.hexdigest()


def _hash_array(digest: hashlib._Hash, values: pa.Array) -> None:
    """Add the lengths of every level and the values of every leaf. The null bitmap separates null from zero."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    digest.update(np.packbits(pc.is_null(values).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(values.type):
        digest.update(pc.list_value_length(values).fill_null(0).to_numpy().tobytes())
        _hash_array(digest, pc.list_flatten(values))
    elif pa.types.is_struct(values.type):
        for number in range(values.type.num_fields):
            _hash_array(digest, pc.struct_field(values, number))
    elif pa.types.is_string(values.type):
        digest.update(pc.binary_length(values).fill_null(0).to_numpy().tobytes())
        digest.update("".join(values.fill_null("").to_pylist()).encode())
    else:
        zero = pa.scalar(0, pa.int8()).cast(values.type)
        digest.update(values.fill_null(zero).to_numpy(zero_copy_only=False).tobytes())
