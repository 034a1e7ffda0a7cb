"""A worker's place among those that train one model together, and the few numbers they agree on at every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Place:
    """Worker `rank` of `workers`; more than one worker needs an initialised process group."""

    rank: int = 0
    workers: int = 1
    device: str = "cpu"

    @property
    def writes(self) -> bool:
        """Whether this worker writes checkpoints, logs and the model: rank 0 alone does."""
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """The values summed over workers, equal on all of them."""
        if self.workers > 1:
            distributed.all_reduce(values)
        return values

    def means(self, numbers: Sequence[float]) -> list[float]:
        """The numbers averaged over workers, in float64."""
        if self.workers == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return [float(value) / self.workers for value in self.summed(values)]

    def told_by_first(self, number: int) -> int:
        """Rank 0's number, on every worker."""
        if self.workers == 1:
            return number
        value = torch.tensor([number], device=self.device)
        distributed.broadcast(value, src=0)
        return int(value)

    def gathered(self, value: Any) -> list[Any]:
        """Every worker's value, in order of rank."""
        if self.workers == 1:
            return [value]
        values: list[Any] = [None] * self.workers
        distributed.all_gather_object(values, value)
        return values

    def counted(self, counts: Counter[str]) -> Counter[str]:
        """Counts added up over workers."""
        total: Counter[str] = Counter()
        for one in self.gathered(dict(counts)):
            total.update(one)
        return total

    def barrier(self) -> None:
        """Wait until every worker is here."""
        self.summed(torch.zeros(1, device=self.device))
