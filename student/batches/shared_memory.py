"""How a batch comes from the process that made it: its large tensors on a tray of shared memory, the rest by pickle.

The promise: what is taken equals what was put. A tray costs a copy on either side; a shared file for each tensor costs
handshakes of the processes, a pipe costs copies piece by piece, and both cost fresh memory for every batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from student.batches.build import Batch, unpacked

_EDGE = 64  # bytes; a tensor begins at a multiple, as those do that torch makes
MOST_BYTES = 48 * 2**20  # of all trays: containers often have no more than 64 MiB of shared memory

Shape = tuple[torch.dtype, tuple[int, ...]]


@dataclass(frozen=True)
class Tray:
    """What is told of a batch on a tray: the tensors' types and shapes in their order, and the other values."""

    number: int
    tensors: dict[str, Shape]
    rest: dict[str, Any]


class Trays:
    """As many trays as batches are under way at once, and one more for the batch that is being taken."""

    def __init__(self, trays: int, room_bytes: int) -> None:
        """room_bytes: of one tray; where all would take more than MOST_BYTES, batches go without."""
        if trays * room_bytes > MOST_BYTES:
            room_bytes = 0
        self._bytes = torch.zeros(trays, -(-room_bytes // _EDGE) * _EDGE, dtype=torch.uint8).share_memory_()

    def put(self, step: int, batch: Batch) -> Tray | Batch:
        """The batch on its step's tray; itself where it does not fit on one. Steps come in turn."""
        rest = batch.packed()
        tensors = {name: rest.pop(name) for name, value in list(rest.items()) if isinstance(value, Tensor)}
        shapes = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
        if sum(map(_bytes_of, shapes.values())) > self._bytes.shape[1]:
            return batch
        number = step % len(self._bytes)
        for name, place in self._places(number, shapes).items():
            place.copy_(tensors[name])
        return Tray(number, shapes, rest)

    def take(self, held: Tray | Batch) -> Batch:
        """The batch that was put, in memory of its own: its tray may be used again."""
        if isinstance(held, Batch):
            return held
        tensors = {name: place.clone() for name, place in self._places(held.number, held.tensors).items()}
        return unpacked({**held.rest, **tensors})

    def _places(self, number: int, shapes: dict[str, Shape]) -> dict[str, Tensor]:
        """Where on a tray each tensor lies."""
        places, first = {}, 0
        for name, (dtype, shape) in shapes.items():
            end = first + dtype.itemsize * prod(shape)
            places[name] = self._bytes[number, first:end].view(dtype).view(shape)
            first += _bytes_of((dtype, shape))
        return places


def _bytes_of(shape: Shape) -> int:
    """Of a tensor on a tray, up to the next one's edge."""
    return -(-shape[0].itemsize * prod(shape[1]) // _EDGE) * _EDGE
