"""Collective operations of the workers that train one model together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class TrainingGroup:
    """The group as worker `rank` of `workers` sees it. More than one worker needs an initialized process group."""

    rank: int = 0
    workers: int = 1
    device: str = "cpu"

    @property
    def is_writer(self) -> bool:
        """Whether this worker writes checkpoints, logs and the model. Only rank 0 does."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum the values over workers, in place. Every worker gets the same sums."""
        if self.workers > 1:
            distributed.all_reduce(values)
        return values

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """Return each number averaged over workers, in float64."""
        if self.workers == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return [float(value) / self.workers for value in self.all_reduce(values)]

    def broadcast(self, number: int) -> int:
        """Return the number of rank 0 on every worker."""
        if self.workers == 1:
            return number
        value = torch.tensor([number], device=self.device)
        distributed.broadcast(value, src=0)
        return int(value)

    def all_gather(self, value: _Value) -> list[_Value]:
        """Return every worker's value, in order of rank."""
        if self.workers == 1:
            return [value]
        values = [value] * self.workers
        distributed.all_gather_object(values, value)
        return values

    def sum_counts(self, counts: Counter[str]) -> Counter[str]:
        """Return the counts summed over workers."""
        total: Counter[str] = Counter()
        for one in self.all_gather(dict(counts)):
            total.update(one)
        return total

    def barrier(self) -> None:
        """Wait until every worker calls this."""
        self.all_reduce(torch.zeros(1, device=self.device))
