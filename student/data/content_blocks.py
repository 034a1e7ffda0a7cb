"""A view's rows in an order of content, wherever the view and its images lie.

A view that stays in memory is ordered row by row; a larger one by blocks, runs of at most 1,024 rows of one unit:
units are named by paths, and so the view's own order is, too, but a unit holds the same rows in any folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.digests import digest_of_many
from student.data.examples import row_digest

BLOCK_ROWS = 1024
_LEARNED = ("image_sha256", "caption", "phrases", "regions")
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """Runs of a view's rows in the order of their content: block b is rows file_row[b] .. + count[b] of the view."""

    file_row: Rows
    count: Rows
    digest: str

    @property
    def first_row(self) -> Rows:
        """The number of each block's first row in the order of content, and one more: the rows in all."""
        return np.concatenate([[0], np.cumsum(self.count)])

    def ordered(self, values: NDArray) -> NDArray:
        """Values of the view's rows, in the order of content."""
        if len(self.count) == len(values):
            return values[self.file_row]
        pieces = [values[a : a + n] for a, n in zip(self.file_row, self.count, strict=True)]
        return np.concatenate(pieces)


def ordered_blocks(found: Iterable[tuple[str, int]]) -> Blocks:
    """From (content key, rows) of runs in the view's order. Runs of equal content keep the view's order."""
    keys, counts = zip(*found, strict=True)
    count = np.array(counts, dtype=np.int64)
    file_row = np.cumsum(count) - count
    order = np.argsort(np.array(keys), kind="stable")
    return Blocks(file_row[order], count[order], digest_of_many(keys[i] for i in order))


def row_keys(table: pa.Table) -> Iterator[tuple[str, int]]:
    """Each row by itself."""
    for batch in table.select(list(_LEARNED)).to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            yield row_digest(row), 1


def block_keys(tables: Iterable[pa.Table]) -> Iterator[tuple[str, int]]:
    """Runs of at most BLOCK_ROWS rows of one unit, wherever the parts are cut."""
    open_run: list[pa.Table] = []
    unit, rows = None, 0
    for table in tables:
        for piece, piece_unit in _unit_runs(table):
            start = 0
            while start < len(piece):
                if rows and (piece_unit != unit or rows == BLOCK_ROWS):
                    yield content_key(pa.concat_tables(open_run)), rows
                    open_run, rows = [], 0
                taken = min(BLOCK_ROWS - rows, len(piece) - start)
                open_run.append(piece.slice(start, taken))
                unit, rows, start = piece_unit, rows + taken, start + taken
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
    """`sha256:<hex>` of the learned columns' values, however Arrow keeps them."""
    digest = hashlib.sha256()
    for name in _LEARNED:
        _feed(digest, table[name].combine_chunks())
    return "sha256:" + digest.hexdigest()


def _feed(digest: hashlib._Hash, values: pa.Array) -> None:
    """Every level's lengths and every leaf's values; a null is told from a zero by the nulls' own row of bytes."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    digest.update(np.packbits(pc.is_null(values).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(values.type):
        digest.update(pc.list_value_length(values).fill_null(0).to_numpy().tobytes())
        _feed(digest, pc.list_flatten(values))
    elif pa.types.is_struct(values.type):
        for number in range(values.type.num_fields):
            _feed(digest, pc.struct_field(values, number))
    elif pa.types.is_string(values.type):
        digest.update(pc.binary_length(values).fill_null(0).to_numpy().tobytes())
        digest.update("".join(values.fill_null("").to_pylist()).encode())
    else:
        zero = pa.scalar(0, pa.int8()).cast(values.type)
        digest.update(values.fill_null(zero).to_numpy(zero_copy_only=False).tobytes())
