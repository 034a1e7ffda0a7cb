"""Transfer of a batch between processes: its large tensors in a buffer of shared memory, the rest by pickle.

Promise: `take` returns what `put` got. A buffer costs one copy on either side. A shared file for each tensor would cost
handshakes of the processes, a pipe would cost copies piece by piece, and both would cost fresh memory for every batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from student.batches.batch_builder import Batch, PackedBatch, unpack_batch

_ALIGNMENT = 64  # bytes; a tensor begins at a multiple, as tensors of torch do
MAX_BYTES = 48 * 2**20  # of all buffers: containers often have no more than 64 MiB of shared memory

Shape = tuple[torch.dtype, tuple[int, ...]]


@dataclass(frozen=True)
class BufferedBatch:
    """A batch in a buffer: the types and shapes of its tensors in their order, and its other values."""

    buffer: int
    shapes: dict[str, Shape]
    rest: PackedBatch


class SharedBuffers:
    """One buffer for each batch in flight, and one more for the batch that is being taken."""

    def __init__(self, buffers: int, size_bytes: int) -> None:
        """Allocate the buffers.

        size_bytes: size of one buffer. If all would exceed MAX_BYTES, none is allocated and batches are pickled whole.
        """
        if buffers * size_bytes > MAX_BYTES:
            size_bytes = 0
        rounded = -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
        self._bytes = torch.zeros(buffers, rounded, dtype=torch.uint8)
        self._bytes.share_memory_()

    def put(self, step: int, batch: Batch) -> BufferedBatch | Batch:
        """Copy the batch into its step's buffer; return the batch itself if it does not fit. Steps come in order."""
        packed = batch.pack()
        shapes = {name: (value.dtype, tuple(value.shape)) for name, value in packed.tensors.items()}
        if sum(map(_round_to_alignment, shapes.values())) > self._bytes.shape[1]:
            return batch
        number = step % len(self._bytes)
        for name, place in self._views(number, shapes).items():
            place.copy_(packed.tensors[name])
        return BufferedBatch(number, shapes, replace(packed, tensors={}))

    def take(self, batch: BufferedBatch | Batch) -> Batch:
        """Return the batch that was put, in memory of its own. Its buffer may be used again."""
        if isinstance(batch, Batch):
            return batch
        tensors = {name: view.clone() for name, view in self._views(batch.buffer, batch.shapes).items()}
        return unpack_batch(replace(batch.rest, tensors=tensors))

    def _views(self, number: int, shapes: dict[str, Shape]) -> dict[str, Tensor]:
        """Return the place of each tensor in a buffer."""
        views, first = {}, 0
        for name, (dtype, shape) in shapes.items():
            end = first + dtype.itemsize * prod(shape)
            views[name] = self._bytes[number, first:end].view(dtype).view(shape)
            first += _round_to_alignment((dtype, shape))
        return views


def _round_to_alignment(shape: Shape) -> int:
    """Return the size of a tensor in a buffer, rounded up to the alignment."""
    return -(-shape[0].itemsize * prod(shape[1]) // _ALIGNMENT) * _ALIGNMENT
